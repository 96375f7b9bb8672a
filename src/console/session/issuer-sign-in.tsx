import { Alert, Button, Divider } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { consoleHeaders } from "../data/transport.ts";

/** What the service says of its OpenID Connect issuer. */
interface Issuer {
  readonly name: string;
  /** The claims that name a person's roles. */
  readonly claims: readonly string[];
  /** The claim that names a person's limits, where the service has some. */
  readonly limitClaim?: string;
}

/** The way in by the issuer, where the service has one: a button, and why the last try was refused. */
export function IssuerSignIn() {
  const { data: issuer } = useQuery({
    queryKey: ["sign-in options"],
    queryFn: ({ signal }) => readIssuer(signal),
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (issuer === null || issuer === undefined) return null;
  const here = new URL(location.href);
  const reason = here.searchParams.get(refusedParameter);
  here.searchParams.delete(refusedParameter);
  const returnTo = encodeURIComponent(here.pathname + here.search);
  return (
    <>
      {reason !== null && (
        <Alert color="red" title="You are not signed in" role="alert">
          {wordsOf(reason, issuer)}
        </Alert>
      )}
      <Button component="a" href={`/session/oidc?return_to=${returnTo}`} fullWidth>
        Sign in with {issuer.name}
      </Button>
      <Divider label="or with an operator's token" />
    </>
  );
}

/** Set by the service when it sends a browser back that it does not let in. */
const refusedParameter = "sign_in_refused";

/** Null where nobody signs in but by a token. */
async function readIssuer(signal: AbortSignal): Promise<Issuer | null> {
  const answer = await fetch("/session/options", { headers: consoleHeaders, signal });
  if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
  return ((await answer.json()) as { readonly issuer?: Issuer }).issuer ?? null;
}

/** Anybody can put any text into an address, so the page has the words. */
function wordsOf(reason: string, { name, claims, limitClaim }: Issuer): string {
  switch (reason) {
    case "OIDC_ROLE_MISSING":
      return `${name} says who you are, but of no role that this service knows. Whoever administers ${name} can give you one: it belongs into the claim ${claims.join(" or ")}.`;
    case "OIDC_LIMITS_MISSING":
      return `${name} says who you are, but of no products and devices that are yours here. Whoever administers ${name} can give you a group that this service knows: it belongs into the claim ${limitClaim}.`;
    case "OIDC_LIMITS_AMBIGUOUS":
      return `${name} names several groups of yours whose products and devices differ here, and only one can count. Whoever administers ${name} can leave one in the claim ${limitClaim}.`;
    case "PERSON_DISABLED":
      return "An administrator of this service has shut you out.";
    case "OIDC_ISSUER_UNAVAILABLE":
      return `${name} does not answer. Try again soon, or sign in with a token.`;
    default:
      return "The sign-in was not finished in this browser, or took too long. Try again.";
  }
}
