import { canonicalVersion } from "./semantic-version.ts";
import { versionIdentity } from "./version-key.ts";

/** A version of the catalogue, and the texts under which devices may report it beside its own. */
export interface NamedVersion {
  readonly version: string;
  readonly reportedVersions: readonly string[];
}

/** Whether a device that reports this text runs the version. */
export function isReportOf(text: string, { version, reportedVersions }: NamedVersion): boolean {
  if (text === version) return true;
  const identity = versionIdentity(text);
  return (
    identity === versionIdentity(version) ||
    reportedVersions.some((reported) => versionIdentity(reported) === identity)
  );
}

/** Reads what devices of one product report: the texts that its versions say of themselves first, then semantic versions. */
export class ReportedVersions {
  readonly #byIdentity: ReadonlyMap<string, string>;

  /** `named` are the versions of the product. */
  constructor(named: readonly NamedVersion[]) {
    this.#byIdentity = new Map(
      named.flatMap(({ version, reportedVersions }) =>
        reportedVersions.map((reported): [string, string] => [versionIdentity(reported), version]),
      ),
    );
  }

  /** The semantic version that a text stands for, in its canonical form; undefined if nothing explains the text. */
  versionOf(text: string): string | undefined {
    const named = this.#byIdentity.size === 0 ? undefined : this.#byIdentity.get(versionIdentity(text));
    return named ?? canonicalVersion(text);
  }
}
