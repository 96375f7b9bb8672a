import type { Authenticator } from "../access/authenticator.ts";
import type { CallerIdentifier } from "../api/pipeline/call.ts";
import { isJwt } from "../call/bearer.ts";
import { DeviceKeys } from "../device/keys/device-keys.ts";
import type { Oidc } from "./oidc.ts";

/** Who judges bearer credentials. */
interface Judges {
  readonly authenticator: Authenticator;
  readonly deviceKeys: DeviceKeys;
  readonly oidc: Oidc;
}

/** Says who calls by a token of the service, by a JWT that a device signed, or by a token of the issuer, if there is one. */
export function identifierOf({ authenticator, deviceKeys, oidc }: Judges): CallerIdentifier {
  const judgeOf = (credential: string) => {
    if (isJwt(credential)) {
      if (DeviceKeys.isMeant(credential)) return deviceKeys;
      if (oidc !== undefined) return oidc.tokens;
    }
    return authenticator;
  };
  return {
    identify: (credential, beforeLookUp) => judgeOf(credential).identify(credential, beforeLookUp),
    identifyAgain: (credential) => {
      const judge = judgeOf(credential);
      return "identifyAgain" in judge ? judge.identifyAgain(credential) : judge.identify(credential);
    },
    onChange: (listener) => {
      authenticator.onChange(listener);
      oidc?.tokens.onChange(listener);
    },
  };
}
