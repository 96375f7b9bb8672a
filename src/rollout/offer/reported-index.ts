import type { Session } from "../../infra/database/session.ts";
import { sql } from "../../infra/database/sql.ts";
import { type NamedVersion, ReportedVersions } from "../../version/reported-versions.ts";
import { KindAnswers } from "./kind-answers.ts";

/** A firmware that devices report under further texts. */
export interface ReportedFirmware extends NamedVersion {
  readonly id: string;
  readonly product: string;
  readonly component: string;
  readonly deviceTypes: readonly string[];
  /** Whether it was taken out of the catalogue: then only devices that are updating report it. */
  readonly deleted: boolean;
}

/** Reads all firmware that devices report under further texts: few, if any. */
export async function readReported(session: Session): Promise<ReportedIndex> {
  return new ReportedIndex(await session.query<ReportedFirmware>(reportedSql));
}

const reportedSql = sql`
  SELECT id, product, component, version, device_types AS "deviceTypes", is_deleted AS deleted,
    reported_versions AS "reportedVersions"
  FROM firmware_updates WHERE reported_versions <> '{}' ORDER BY id`;

/** What the texts that devices report stand for, by product and by device type, in memory. */
export class ReportedIndex {
  readonly #byId: ReadonlyMap<string, ReportedFirmware>;
  readonly #byProduct: ReadonlyMap<string, ReportedVersions>;
  readonly #byType = new Map<string, ReportedVersions>();
  /** Whether texts are explained, by device type and text. */
  readonly #explained = new KindAnswers<boolean>(maxKept);

  constructor(all: readonly ReportedFirmware[]) {
    this.#byId = new Map(all.map((each) => [each.id, each]));
    const firmware = all.filter(({ deleted }) => !deleted);
    this.#byProduct = new Map(
      [...Map.groupBy(firmware, ({ product }) => product)].map(([product, of]) => [
        product,
        new ReportedVersions(of),
      ]),
    );
    const types = new Set(firmware.flatMap(({ deviceTypes }) => deviceTypes));
    for (const type of types) {
      const of = firmware.filter(
        ({ component, deviceTypes }) => component === "" && deviceTypes.includes(type),
      );
      this.#byType.set(type, new ReportedVersions(of));
    }
  }

  /** What the texts stand for that devices with a product report. */
  product(product: string): ReportedVersions {
    return this.#byProduct.get(product) ?? plain;
  }

  /** The further texts of a firmware. */
  of(firmwareId: string): readonly string[] {
    return this.#byId.get(firmwareId)?.reportedVersions ?? none;
  }

  /** Whether a firmware version that devices of a type report is a semantic version, or some firmware for them names it. */
  explains(deviceType: string, text: string): boolean {
    const known = this.#explained.get(deviceType, text);
    if (known !== undefined) return known;
    const explains = (this.#byType.get(deviceType) ?? plain).versionOf(text) !== undefined;
    this.#explained.set(deviceType, text, explains);
    return explains;
  }
}

const maxKept = 10_000;

/** Nothing but semantic versions. */
const plain = new ReportedVersions([]);

const none: readonly string[] = [];
