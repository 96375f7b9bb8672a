import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";

/**
 * The way to the service that this page came from. The header proves that a call comes from the console, without which
 * the service does not look at the session cookie. `signedOut` hears of calls that found the session over.
 */
export function createTransport(signedOut: () => void): Transport {
  const mark: Interceptor = (next) => async (request) => {
    for (const [name, value] of Object.entries(consoleHeaders)) request.header.set(name, value);
    try {
      return await next(request);
    } catch (error) {
      // The question who is signed in is the one that `signedOut` asks again.
      const isQuestion = request.method === AccessService.method.whoAmI;
      if (!isQuestion && ConnectError.from(error).code === Code.Unauthenticated) signedOut();
      throw error;
    }
  };
  return createConnectTransport({
    baseUrl: window.location.origin,
    useBinaryFormat: true,
    interceptors: [mark],
  });
}

/** Sent with every call. */
export const consoleHeaders = { "x-ota-console": "1" } as const;
