import { isLoopback } from "./loopback.ts";
import {
  foreignSecret,
  integer,
  listOf,
  type Setting,
  SettingFault,
  setting,
  text,
  textOr,
  type ValuesOf,
} from "./settings.ts";

/**
 * The signature algorithms that an issuer's tokens may have (RFC 7518, 8037 and 9864). All are asymmetric: with HMAC whoever can
 * check a token could make one.
 */
const algorithms = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
] as const;

/** The settings for operators who sign in at an OpenID Connect issuer. */
export const oidcSettings = {
  oidcIssuer: text(
    "OIDC_ISSUER",
    "The OpenID Connect issuer whose people are operators, as it stands in its tokens; without it there are tokens alone.",
  ),
  oidcAudience: text(
    "OIDC_AUDIENCE",
    "What stands in `aud` of access tokens for this service; required with an issuer.",
  ),
  oidcName: textOr("OIDC_NAME", "single sign-on", "What the console's button calls the issuer."),
  oidcClientId: text(
    "OIDC_CLIENT_ID",
    "The console's client at the issuer; without it the console offers no sign-in there.",
  ),
  oidcClientSecret: foreignSecret(
    "OIDC_CLIENT_SECRET",
    "The client's secret; without it the client is a public one.",
  ),
  oidcScopes: textOr("OIDC_SCOPES", "openid profile", "The scopes that the console asks for."),
  oidcRedirectUrl: text(
    "OIDC_REDIRECT_URL",
    "Where the issuer sends browsers back, as it is registered there; by default `/session/oidc/callback` under the address that the browser uses.",
  ),
  oidcSessionMinutes: integer(
    "OIDC_SESSION_MINUTES",
    60,
    [1, 720],
    "How long a console session that was opened at the issuer lasts, in minutes: roles that are taken away there hold at most that long.",
  ),
  oidcRoleClaim: textOr(
    "OIDC_ROLE_CLAIM",
    "roles",
    "The claim that names a person's roles; dots lead into objects, as in `realm_access.roles`.",
  ),
  oidcGroupClaim: textOr(
    "OIDC_GROUP_CLAIM",
    "groups",
    "The claim that names a person's groups, which count as roles do.",
  ),
  oidcViewers: names("OIDC_VIEWERS", "device-ota-viewer", "viewer"),
  oidcOperators: names("OIDC_OPERATORS", "device-ota-operator", "operator"),
  oidcAdmins: names("OIDC_ADMINS", "device-ota-admin", "admin"),
  oidcLimits: setting(
    "OIDC_LIMITS",
    "",
    'What viewers and operators of the issuer are limited to: JSON that says, for each group, `products`, a `device_filter` or both, or `"unlimited": true`; without it nobody is limited.',
    parseLimits,
  ),
  oidcLimitClaim: textOr(
    "OIDC_LIMIT_CLAIM",
    "groups",
    "The claim that names the group of `DEVICE_OTA_OIDC_LIMITS` that a person is in: exactly one, or the person is refused.",
  ),
  oidcAlgorithms: setting(
    "OIDC_ALGORITHMS",
    "RS256,PS256,ES256,EdDSA",
    `The algorithms with which the issuer may sign, separated by commas: ${algorithms.join(", ")}.`,
    parseAlgorithms,
  ),
  oidcClockTolerance: integer(
    "OIDC_CLOCK_TOLERANCE_SECONDS",
    30,
    [0, 300],
    "By how much the issuer's clock may differ, in seconds.",
  ),
  oidcTimeout: integer(
    "OIDC_TIMEOUT_SECONDS",
    5,
    [1, 60],
    "How long an answer of the issuer may take, in seconds.",
  ),
  oidcMaxAnswer: integer(
    "OIDC_MAX_ANSWER_BYTES",
    262_144,
    [4_096, 16_777_216],
    "The most bytes of an answer of the issuer.",
  ),
  oidcRefresh: integer(
    "OIDC_REFRESH_SECONDS",
    600,
    [10, 86_400],
    "How often the issuer is asked for its keys, in seconds.",
  ),
  oidcUnknownKey: integer(
    "OIDC_UNKNOWN_KEY_SECONDS",
    60,
    [1, 3_600],
    "How often, at most, it is asked because a token names a key that it did not have, in seconds.",
  ),
};

type Values = ValuesOf<typeof oidcSettings>;

/** What the settings say of an issuer; undefined without one. */
export function oidcOf(values: Values, faults: string[]) {
  const { oidcIssuer: issuer, oidcAudience: audience, oidcClientId: clientId, oidcLimits: limits } = values;
  if (issuer === undefined) {
    for (const key of ["oidcAudience", "oidcClientId", "oidcLimits"] as const) {
      if (values[key] !== undefined)
        faults.push(`${oidcSettings[key].name}: says nothing without ${oidcSettings.oidcIssuer.name}`);
    }
    return undefined;
  }
  requireSecure(oidcSettings.oidcIssuer.name, issuer, faults);
  if (values.oidcRedirectUrl !== undefined)
    requireSecure(oidcSettings.oidcRedirectUrl.name, values.oidcRedirectUrl, faults);
  if (audience === undefined)
    faults.push(`${oidcSettings.oidcAudience.name}: is required with ${oidcSettings.oidcIssuer.name}`);
  return {
    issuer,
    audience: audience ?? "",
    algorithms: values.oidcAlgorithms,
    clockToleranceSeconds: values.oidcClockTolerance,
    timeoutMs: values.oidcTimeout * 1_000,
    maxAnswerBytes: values.oidcMaxAnswer,
    refreshMs: values.oidcRefresh * 1_000,
    unknownKeyMs: values.oidcUnknownKey * 1_000,
    roles: {
      claims: [values.oidcRoleClaim, values.oidcGroupClaim],
      names: { viewer: values.oidcViewers, operator: values.oidcOperators, admin: values.oidcAdmins },
    },
    /** What viewers and operators are limited to; undefined: nothing. */
    limits: limits && { claim: values.oidcLimitClaim, named: limits },
    /** The console's sign-in; undefined: tokens alone. */
    client:
      clientId === undefined
        ? undefined
        : {
            id: clientId,
            secret: values.oidcClientSecret,
            name: values.oidcName,
            scopes: values.oidcScopes,
            redirectUrl: values.oidcRedirectUrl,
            sessionMs: values.oidcSessionMinutes * 60_000,
          },
  };
}

/** Whoever can change what the issuer says on the way is the issuer. */
function requireSecure(name: string, given: string, faults: string[]): void {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  const isSecure = url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url.hostname));
  if (!isSecure || url.search !== "" || url.hash !== "")
    faults.push(
      `${name}: must be an https:// URL without a query (http:// on this machine alone), not ${JSON.stringify(given.slice(0, 100))}`,
    );
}

function names(name: string, fallback: string, role: string): Setting<readonly string[]> {
  const meaning = `The roles and groups of the issuer, separated by commas, whose people have the role \`${role}\` here.`;
  return setting(name, fallback, meaning, listOf);
}

function parseAlgorithms(value: string): readonly string[] {
  const listed = listOf(value);
  const known: readonly string[] = algorithms;
  if (listed.length > 0 && listed.every((each) => known.includes(each))) return listed;
  throw new SettingFault(`must be some of ${algorithms.join(", ")}, separated by commas`);
}

/** What each group is limited to; undefined: to nothing. */
type NamedLimits = ReadonlyMap<
  string,
  { readonly products: readonly string[]; readonly deviceFilter: string } | undefined
>;

/** Whatever is not understood is a fault: a word that is misspelt must not leave a person without limits. */
function parseLimits(value: string): NamedLimits | undefined {
  if (value === "") return undefined;
  const groups = Object.entries(objectOf(parsedJson(value)));
  if (groups.length === 0 || groups.length > maxGroups)
    throw new SettingFault(`must name 1 to ${maxGroups} groups`);
  return new Map(groups.map(([group, limits]) => [group, limitsOf(group, objectOf(limits))]));
}

function limitsOf(group: string, given: Readonly<Record<string, unknown>>) {
  // Sessions hold the name, in little room.
  if (group.length > 128 || !/^[!-~](?: *[!-~])*$/.test(group))
    throw new SettingFault("must name groups by 1 to 128 printable ASCII characters");
  const { products = [], device_filter: filter = "", unlimited = false, ...others } = given;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new SettingFault(`says ${unknown} of ${group}; known are products, device_filter and unlimited`);
  if (!Array.isArray(products) || products.length > 8 || !products.every(isProduct))
    throw new SettingFault(`must have a list of at most 8 names as the products of ${group}`);
  if (typeof filter !== "string" || filter.length > 512)
    throw new SettingFault(`must have a text of at most 512 characters as the device_filter of ${group}`);
  const deviceFilter = filter.trim();
  const isLimited = products.length > 0 || deviceFilter !== "";
  if (unlimited !== !isLimited)
    throw new SettingFault(`must say products or a device_filter of ${group}, or else "unlimited": true`);
  return isLimited ? { products, deviceFilter } : undefined;
}

function parsedJson(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Readonly<Record<string, unknown>>;
  throw new SettingFault(
    'must be JSON such as {"ota-berlin": {"products": ["boiler"], "device_filter": "groups:berlin"}}',
  );
}

/** As `Firmware.product`. */
function isProduct(value: unknown): value is string {
  return typeof value === "string" && /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value);
}

const maxGroups = 1_000;
