/** A share of 10,000 as percent, for example `12.5 %`. */
export function percentText(basisPoints: number): string {
  return `${Math.round(basisPoints * 100) / 10_000} %`;
}
