import { Issuer } from "../access/oidc/issuer.ts";
import { OidcTokens } from "../access/oidc/oidc-tokens.ts";
import { People } from "../access/oidc/people.ts";
import { SignIn } from "../access/oidc/sign-in.ts";
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
  const issuer = opened.adopt(new Issuer({ settings, clock, logger }), (it) => it.close());
  background.add(issuer.round);
  const people = opened.adopt(new People({ database, clock, issuer: settings.issuer }), (it) => it.close());
  const tokens = new OidcTokens({ issuer, people, settings, clock });
  issuer.start();
  const { client } = settings;
  const signIn = client && new SignIn({ issuer, tokens, people, client, settings, clock });
  return { people, tokens, console: signIn && { ...client, signIn, claims: settings.roles.claims } };
}
