import {
  create,
  type DescMessage,
  type DescMethodServerStreaming,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { createAsyncIterable } from "@connectrpc/connect/protocol";
import { useTransport } from "@connectrpc/connect-query";
import { useEffect, useEffectEvent, useState } from "react";
import { backOffMs } from "./back-off.ts";
import { pause } from "./pause.ts";

/** How a stream does: `ended` is final, `paused` lasts while nobody looks. */
export type StreamState = "connecting" | "live" | "reconnecting" | "paused" | "ended";

/** What a page knows of its stream. */
export interface ServerStream {
  readonly state: StreamState;
  /** Why the service refused it for good; undefined otherwise. */
  readonly failure: ConnectError | undefined;
}

/**
 * Follows a server stream for as long as the page shows it. A broken stream is opened again with growing pauses; one that
 * the service refuses or ends is not. In a hidden tab the stream is given up after {@link hiddenGraceMs}, because a browser
 * has only six HTTP/1.1 connections for all tabs of a service, and opened again when someone looks. Undefined input: no stream.
 */
export function useServerStream<I extends DescMessage, O extends DescMessage>(
  method: DescMethodServerStreaming<I, O>,
  input: MessageInitShape<I> | undefined,
  onMessage: (message: MessageShape<O>) => void,
): ServerStream {
  const transport = useTransport();
  const visible = useVisible();
  const [stream, setStream] = useState<ServerStream>({ state: "connecting", failure: undefined });
  const received = useEffectEvent(onMessage);
  const key = input === undefined ? undefined : JSON.stringify(input);

  useEffect(() => {
    if (key === undefined || !visible) return undefined;
    const controller = new AbortController();
    void follow(transport, method, JSON.parse(key) as MessageInitShape<I>, controller.signal, {
      message: received,
      state: (state, failure) => setStream({ state, failure }),
    });
    return () => controller.abort();
  }, [transport, method, key, visible]);
  return visible ? stream : { state: "paused", failure: undefined };
}

/** For how long a hidden tab keeps its stream: moving to another tab and back should not blink. */
const hiddenGraceMs = 15_000;

interface Follower<O extends DescMessage> {
  message(message: MessageShape<O>): void;
  state(state: StreamState, failure?: ConnectError): void;
}

async function follow<I extends DescMessage, O extends DescMessage>(
  transport: Transport,
  method: DescMethodServerStreaming<I, O>,
  input: MessageInitShape<I>,
  signal: AbortSignal,
  follower: Follower<O>,
): Promise<void> {
  follower.state("connecting");
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      const request = createAsyncIterable([create(method.input, input)]);
      const response = await transport.stream(method, signal, undefined, undefined, request);
      for await (const message of response.message) {
        if (signal.aborted) return;
        if (failures >= 0) follower.state("live");
        failures = -1;
        follower.message(message);
      }
      follower.state("ended");
      return;
    } catch (thrown) {
      if (signal.aborted) return;
      const error = ConnectError.from(thrown);
      if (final.has(error.code)) {
        follower.state("ended", error);
        return;
      }
      follower.state("reconnecting");
    }
    await pause(backOffMs(failures, Math.random()), signal);
  }
}

/** Codes with which the same call would fail again. */
const final = new Set([
  Code.InvalidArgument,
  Code.NotFound,
  Code.PermissionDenied,
  Code.Unauthenticated,
  Code.Unimplemented,
  Code.FailedPrecondition,
]);

/** Whether somebody looks, or did a moment ago. */
function useVisible(): boolean {
  const [visible, setVisible] = useState(true);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const changed = () => {
      clearTimeout(timer);
      if (document.visibilityState === "visible") setVisible(true);
      else timer = setTimeout(() => setVisible(false), hiddenGraceMs);
    };
    document.addEventListener("visibilitychange", changed);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", changed);
    };
  }, []);
  return visible;
}
