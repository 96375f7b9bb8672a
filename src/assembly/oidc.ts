import { Issuer } from "../access/oidc/issuer.ts";
import { OidcTokens } from "../access/oidc/oidc-tokens.ts";
import { People } from "../access/oidc/people.ts";
import { SignIn } from "../access/oidc/sign-in.ts";
import { ConfigError } from "../config.ts";
import { parseDeviceFilter } from "../device/filter/device-filter.ts";
import { OtaError } from "../errors.ts";
import type { Foundation } from "./foundation.ts";

/** The people of the OpenID Connect issuer; undefined where there is none. */
export type Oidc = ReturnType<typeof openOidc>;

/** Begins to ask the issuer of the settings, if there is one. The service does not wait for it. */
export function openOidc(
  { config, logger, clock, background, database }: Foundation,
  opened: AsyncDisposableStack,
) {
  const settings = config.oidc;
  if (settings === undefined) return undefined;
  for (const [name, scope] of settings.limits?.named ?? []) requireFilter(name, scope?.deviceFilter ?? "");
  const issuer = opened.adopt(new Issuer({ settings, clock, logger }), (it) => it.close());
  background.add(issuer.round);
  const people = opened.adopt(new People({ database, clock, issuer: settings.issuer }), (it) => it.close());
  const tokens = new OidcTokens({ issuer, people, settings, clock });
  issuer.start();
  const { client } = settings;
  const signIn = client && new SignIn({ issuer, tokens, people, client, settings, clock });
  return {
    people,
    tokens,
    console: signIn && {
      ...client,
      signIn,
      claims: settings.roles.claims,
      limitClaim: settings.limits?.claim,
    },
  };
}

/** Settings know no filters, so a wrong one is found here. */
function requireFilter(limit: string, filter: string): void {
  try {
    parseDeviceFilter(filter, "device_filter");
  } catch (error) {
    if (!(error instanceof OtaError)) throw error;
    throw new ConfigError([`DEVICE_OTA_OIDC_LIMITS: the device_filter of ${limit}: ${error.message}`]);
  }
}
