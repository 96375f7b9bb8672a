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
  return {
    identify: (credential, beforeLookUp) => {
      if (isJwt(credential)) {
        if (DeviceKeys.isMeant(credential)) return deviceKeys.identify(credential, beforeLookUp);
        if (oidc !== undefined) return oidc.tokens.identify(credential, beforeLookUp);
      }
      return authenticator.identify(credential, beforeLookUp);
    },
    onChange: (listener) => {
      authenticator.onChange(listener);
      oidc?.tokens.onChange(listener);
    },
  };
}
