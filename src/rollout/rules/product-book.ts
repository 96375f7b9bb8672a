import { isReportOf, type NamedVersion } from "../../version/reported-versions.ts";

/** A firmware of the catalogue, as far as it tells which product a device runs. */
export interface BookedFirmware extends NamedVersion {
  readonly product: string;
  readonly deviceTypes: readonly string[];
  /** Empty: every model. */
  readonly hardwareModels: readonly string[];
  /** Whether it is released and was not deleted: only such firmware can be mistaken for a device's own. */
  readonly released: boolean;
}

/** What the catalogue says of a device's product. */
export type ProductVerdict =
  /** It is this one, or the only one that there is for such a device. */
  | { readonly kind: "known"; readonly product: string }
  /** There are several, and its version is one of none or of several of them. */
  | { readonly kind: "unknown"; readonly candidates: readonly string[] };

/** What decides over a device's product. */
interface Runner {
  readonly deviceType: string;
  readonly hardwareModel: string;
  readonly firmwareVersion: string;
  /** What it, or an operator, said; empty if nobody did. */
  readonly product: string;
}

/**
 * Which product a device runs, by the firmware of the catalogue. Asked only where more than one product has firmware for its
 * type and model: then its version tells, if it is a version of one of them alone. Answers are remembered, for a fleet is of
 * few kinds.
 */
export class ProductBook {
  readonly #byType: ReadonlyMap<string, readonly BookedFirmware[]>;
  readonly #verdicts = new Map<string, ProductVerdict | undefined>();

  constructor(firmware: readonly BookedFirmware[]) {
    const byType = new Map<string, BookedFirmware[]>();
    for (const each of firmware) {
      for (const type of each.deviceTypes) {
        const list = byType.get(type);
        if (list === undefined) byType.set(type, [each]);
        else list.push(each);
      }
    }
    this.#byType = byType;
  }

  /** The product of a device; undefined if nobody need ask, because there is at most one for such a device. */
  productOf(device: Runner): ProductVerdict | undefined {
    if (device.product !== "") return { kind: "known", product: device.product };
    const firmware = this.#byType.get(device.deviceType);
    if (firmware === undefined) return undefined;
    const key = JSON.stringify([device.deviceType, device.hardwareModel, device.firmwareVersion]);
    if (this.#verdicts.has(key)) return this.#verdicts.get(key);
    // Devices may report anything: start again rather than grow.
    if (this.#verdicts.size >= maxVerdicts) this.#verdicts.clear();
    const verdict = judge(firmware, device);
    this.#verdicts.set(key, verdict);
    return verdict;
  }
}

/** Types times models times versions of a fleet. */
const maxVerdicts = 10_000;

function judge(firmware: readonly BookedFirmware[], device: Runner): ProductVerdict | undefined {
  const fitting = firmware.filter(
    ({ hardwareModels }) => hardwareModels.length === 0 || hardwareModels.includes(device.hardwareModel),
  );
  const products = new Set(fitting.filter(({ released }) => released).map(({ product }) => product));
  if (products.size <= 1) return undefined;
  const explaining = new Set(
    fitting.filter((each) => isReportOf(device.firmwareVersion, each)).map(({ product }) => product),
  );
  const [product] = explaining;
  if (product !== undefined && explaining.size === 1) return { kind: "known", product };
  return { kind: "unknown", candidates: [...(explaining.size > 0 ? explaining : products)].sort() };
}
