/** Something that falls due at a time. */
export interface Due {
  /** Milliseconds since 1970. */
  readonly atMs: number;
}

/** A binary heap by due time: the earliest is found at once, adding and taking cost the logarithm of the size. */
export class DeadlineHeap<Item extends Due> {
  readonly #items: Item[] = [];

  /** How many items it holds. */
  get size(): number {
    return this.#items.length;
  }

  /** The earliest item. */
  peek(): Item | undefined {
    return this.#items[0];
  }

  /** Adds an item. */
  push(item: Item): void {
    const items = this.#items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = items[parentAt];
      if (parent === undefined || parent.atMs <= item.atMs) break;
      items[at] = parent;
      at = parentAt;
    }
    items[at] = item;
  }

  /** Takes the earliest item if it is due. */
  takeDue(nowMs: number): Item | undefined {
    const items = this.#items;
    const [first] = items;
    if (first === undefined || first.atMs > nowMs) return undefined;
    const last = items.pop();
    if (last !== undefined && items.length > 0) this.#sinkFromTop(last);
    return first;
  }

  #sinkFromTop(item: Item): void {
    const items = this.#items;
    let at = 0;
    for (;;) {
      let childAt = at * 2 + 1;
      let child = items[childAt];
      if (child === undefined) break;
      const right = items[childAt + 1];
      if (right !== undefined && right.atMs < child.atMs) {
        child = right;
        childAt += 1;
      }
      if (child.atMs >= item.atMs) break;
      items[at] = child;
      at = childAt;
    }
    items[at] = item;
  }
}
