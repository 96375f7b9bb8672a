import { pino } from "pino";
import { expect, it } from "vitest";
import { FakeClock } from "../../../test/support/fake-clock.ts";
import { credentialRevoked } from "../../call/bearer.ts";
import type { Identity } from "../../call/identity.ts";
import type { Call } from "./call.ts";
import { OpenCalls } from "./open-calls.ts";

/** Many calls of devices that are open, and what was looked at since it was asked last. */
function opened(identities: readonly Identity[]) {
  const clock = new FakeClock();
  let looked: string[] = [];
  let tell: (deviceId?: string) => void = () => undefined;
  const refused = new Set<string>();
  const nameOf = (identity: Identity) => (identity.kind === "device" ? identity.deviceId : "");
  const calls = new OpenCalls({
    authenticator: { onChange: (listener) => void (tell = listener) },
    credentials: {
      identifyAgain: (shown) => {
        const { identity } = shown as Call;
        looked.push(nameOf(identity));
        if (refused.has(nameOf(identity))) throw credentialRevoked();
        return identity;
      },
    },
    clock,
    logger: pino({ level: "silent" }),
  });
  const cut = new Map<string, string>();
  for (const identity of identities) {
    const abort = (why: Error) => void cut.set(nameOf(identity), why.message);
    calls.addOneOfMany({ identity, abort } as unknown as Call);
  }
  const look = async (seconds: number) => {
    clock.advance(seconds * 1_000);
    looked = [];
    await calls.round.run();
    return looked;
  };
  return { calls, clock, look, cut, refused, tell: (deviceId?: string) => tell(deviceId) };
}

const device = (deviceId: string, expiresMs?: number): Identity => ({
  kind: "device",
  deviceId,
  credentialId: deviceId,
  ...(expiresMs === undefined ? {} : { expiresMs }),
});

it("looks at one of many when its token changed or came to its end, and then at it alone", async () => {
  const startMs = new FakeClock().now().getTime();
  const names = Array.from({ length: 2_000 }, (_, index) => `device ${index}`);
  const { calls, look, cut, refused, tell } = opened(
    // All of them would be looked at within five minutes.
    names.map((name, index) => device(name, index === 1_999 ? startMs + 60_000 : undefined)),
  );
  await using _ = { [Symbol.asyncDispose]: () => calls.round.close() };
  const eachSecond = Math.ceil(names.length / 300);
  expect(await look(1)).toHaveLength(eachSecond);

  tell("device 1998");
  tell("of nobody here");
  tell();
  refused.add("device 1998");
  const afterChange = await look(1);
  expect(afterChange).toContain("device 1998");
  expect(afterChange).toHaveLength(eachSecond + 1);
  expect([...cut.keys()]).toEqual(["device 1998"]);
  expect(await look(1)).toHaveLength(eachSecond);

  expect(await look(50)).not.toContain("device 1999");
  expect(await look(10)).toContain("device 1999");
  // Its next token may have taken its place: it is not looked at for ever.
  await look(10);
  expect(await look(1)).toHaveLength(eachSecond);
});
