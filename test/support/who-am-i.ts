import { AccessService } from "../../gen/ota/v1/access_service_pb.js";
import { connectClient, http, httpRefusal, type Refusal, refusal } from "./door-clients.ts";
import type { TestService } from "./service.ts";

/** What a door answers to WhoAmI: who calls, or why it refuses. */
export interface WhoAmIAnswer {
  readonly actor?: string;
  readonly deviceId?: string;
  readonly refusal?: Refusal;
  /** Of REST. */
  readonly httpStatus?: number;
}

/** Asks each door who calls with a token. */
export const whoAmI = {
  grpc: (service: TestService, token: string) =>
    answerTo(service.client(token).unary(AccessService.method.whoAmI, {})),
  connect: (service: TestService, token: string) =>
    answerTo(connectClient(service, AccessService, token).whoAmI({})),
  rest: async (service: TestService, token: string): Promise<WhoAmIAnswer> => {
    const answer = await http(service, "GET", whoAmIPath, { token });
    const httpStatus = answer.status;
    if (httpStatus !== 200) return { refusal: httpRefusal(answer), httpStatus };
    const { actor, deviceId = "" } = answer.body as { readonly actor: string; readonly deviceId?: string };
    return { actor, deviceId, httpStatus };
  },
} as const;

/** Where REST answers it. */
export const whoAmIPath = "/api/v1/access/whoami";

/** What all doors say: who calls by `told`, or the reason of the refusal. */
export async function toldAtAllDoors(
  service: TestService,
  token: string,
  told: "actor" | "deviceId",
): Promise<(string | undefined)[]> {
  const answers: (string | undefined)[] = [];
  for (const ask of Object.values(whoAmI)) {
    const answer = await ask(service, token);
    answers.push(answer.refusal?.reason ?? answer[told]);
  }
  return answers;
}

/** Why each door refuses a token; undefined where it does not. */
export async function refusalsAtAllDoors(service: TestService, token: string) {
  const rest = await whoAmI.rest(service, token);
  return {
    grpc: (await whoAmI.grpc(service, token)).refusal,
    connect: (await whoAmI.connect(service, token)).refusal,
    rest: rest.refusal,
    restStatus: rest.httpStatus,
  };
}

async function answerTo(
  call: Promise<{ readonly actor: string; readonly deviceId: string }>,
): Promise<WhoAmIAnswer> {
  try {
    const { actor, deviceId } = await call;
    return { actor, deviceId };
  } catch {
    return { refusal: await refusal(call) };
  }
}
