/**
 * Answers about kinds of devices, told apart by two texts such as model and version: a fleet is of few kinds, so that each is
 * worked out once. Bounded.
 */
export class KindAnswers<Answer> {
  readonly #max: number;
  readonly #answers = new Map<string, Map<string, Answer>>();
  #kept = 0;

  /** @param max how many it remembers at most */
  constructor(max: number) {
    this.#max = max;
  }

  /** The answer about a kind; undefined if none is remembered. */
  get(first: string, second: string): Answer | undefined {
    return this.#answers.get(first)?.get(second);
  }

  /** Remembers the answer about a kind that has none. */
  set(first: string, second: string, answer: Answer): void {
    // Devices may report anything: start again rather than grow.
    if (this.#kept >= this.#max) {
      this.#answers.clear();
      this.#kept = 0;
    }
    const answers = this.#answers.get(first) ?? new Map<string, Answer>();
    this.#answers.set(first, answers);
    answers.set(second, answer);
    this.#kept += 1;
  }
}
