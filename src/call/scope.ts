/** What an operator's token is limited to. */
export interface Scope {
  /** Only these products; empty for all. */
  readonly products: readonly string[];
  /** Only devices that match this filter; empty for all. */
  readonly deviceFilter: string;
}

/** The scope of a token; undefined for one without limits. */
export function scopeOf(products: readonly string[], deviceFilter: string): Scope | undefined {
  return products.length === 0 && deviceFilter === "" ? undefined : { products, deviceFilter };
}

/** The filter over the devices of a scope: those that run its products, and match its own filter. */
export function devicesOf(scope: Scope): string {
  return narrowedFilter(productsOf(scope), scope.deviceFilter);
}

/** The filter over what has one of a scope's products. */
export function productsOf({ products }: Scope): string {
  // Names of products hold nothing that would end the quotation.
  return products.map((product) => `product = "${product}"`).join(" OR ");
}

/**
 * A filter for what matches both; either may be empty. The limit stands first, in brackets and before an AND, so that whatever a
 * caller writes behind it is a further condition (or no filter at all), and nothing that could lift it.
 */
export function narrowedFilter(limit: string, filter: string): string {
  if (limit === "" || filter.trim() === "") return limit === "" ? filter : `(${limit})`;
  return `(${limit}) AND (${filter})`;
}
