import type { CompiledRollout } from "./compiled-rollout.ts";
import type { ProductVerdict } from "./product-book.ts";
import type { CheckedDevice, Rule } from "./rule.ts";

/**
 * A firmware of another product than the device's is none of its updates: a bootloader of version 4.0.0 does not follow an
 * operating system of version 3.0.0. Where the product is not known, no firmware is offered, and the words say what would
 * tell. Applications name their component and need no such rule.
 */
export const productRule: Rule = {
  name: "product",
  scope: "device",
  judge: (rollout, device) => {
    const verdict = verdictOf(rollout, device);
    if (verdict === undefined) return undefined;
    if (verdict.kind === "unknown") return "PRODUCT_UNKNOWN";
    return verdict.product === rollout.firmware.product ? undefined : "NOT_TARGETED";
  },
  words: (rollout, device, _facts, reason) => {
    const verdict = verdictOf(rollout, device);
    return {
      required: rollout.component === "" ? rollout.firmware.product : "any",
      actual: actualText(verdict, device),
      message: reason === undefined ? "The firmware is of the device's product." : faultText(verdict, device),
    };
  },
};

function verdictOf(rollout: CompiledRollout, device: CheckedDevice): ProductVerdict | undefined {
  return rollout.component === "" ? rollout.products.productOf(device) : undefined;
}

function actualText(verdict: ProductVerdict | undefined, { product }: CheckedDevice): string {
  if (verdict === undefined) return "the only one for its type and model";
  if (verdict.kind === "unknown") return "unknown";
  return product === "" ? `${verdict.product}, by its version` : verdict.product;
}

function faultText(verdict: ProductVerdict | undefined, { firmwareVersion }: CheckedDevice): string {
  if (verdict?.kind !== "unknown") return `The device runs ${verdict?.product ?? "another product"}.`;
  const version = firmwareVersion === "" ? "an unknown version" : firmwareVersion;
  return `which product the device runs is not known: ${verdict.candidates.join(" or ")}. It runs ${version}; set its product, or add that version to the catalogue`;
}
