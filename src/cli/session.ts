import {
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type JsonValue,
  type MessageInitShape,
  type MessageShape,
  toJson,
} from "@bufbuild/protobuf";
import type { Command } from "commander";
import { type VerbEffect, VerbEffectSchema } from "../../gen/ota/v1/rollout_pb.js";
import { RpcClient } from "../client/rpc-client.ts";
import { readAdminToken } from "./admin-token-file.ts";
import { type Connection, type ConnectionOptions, connectionTo } from "./connection.ts";
import { cleanText } from "./format.ts";
import type { Terminal } from "./terminal.ts";

/** What every command is given. */
export interface Cli {
  readonly terminal: Terminal;
  /** Aborted by the first Ctrl-C, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The options that every command which talks to a service has. */
interface GlobalOptions extends ConnectionOptions {
  readonly token?: string;
  readonly dataDir: string;
  readonly json?: boolean;
}

/** The longest that one call may take. Longer than the service's own limits, so that its answer arrives. */
const callTimeoutMs = 60_000;

/** A connection to a service, and how to answer the user. Dispose of it after use. */
export class Session implements Disposable {
  readonly rpc: RpcClient;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
  /** Whether the user wants JSON. */
  readonly json: boolean;
  /** Where the service is, for commands with connections of their own. */
  readonly connection: Connection;

  constructor(parts: {
    readonly rpc: RpcClient;
    readonly cli: Cli;
    readonly json: boolean;
    readonly connection: Connection;
  }) {
    this.rpc = parts.rpc;
    this.terminal = parts.cli.terminal;
    this.signal = parts.cli.signal;
    this.json = parts.json;
    this.connection = parts.connection;
  }

  /** Calls a unary method. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    return this.rpc.unary(method, request, { signal: this.signal, timeoutMs: callTimeoutMs });
  }

  /** Calls a method that answers with a stream, for as long as it lasts. */
  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
  ): AsyncGenerator<MessageShape<O>> {
    return this.rpc.serverStream(method, request, { signal: this.signal });
  }

  /** Prints an answer: as JSON if the user wants that, else as `human` words it. */
  print<T extends DescMessage>(schema: T, message: MessageShape<T>, human: () => string): void {
    this.terminal.out(this.json ? jsonText(schema, message, 2) : human());
  }

  /** Prints the answer to a verb, and what it changed: as JSON in a field `effect`, for people as a note behind it. */
  printEffect<T extends DescMessage>(
    schema: T,
    message: MessageShape<T>,
    effect: VerbEffect | undefined,
    human: () => string,
  ): void {
    if (this.json) {
      const parts = {
        ...(jsonOf(schema, message) as object),
        ...(effect && { effect: jsonOf(VerbEffectSchema, effect) }),
      };
      return this.terminal.out(JSON.stringify(parts, undefined, 2));
    }
    this.terminal.out(human());
    if (effect !== undefined) this.terminal.note(`\n${cleanText(effect.message)}`);
  }

  /** Tells people, beside the output, that a verb found everything as it was to be. */
  noteUnchanged(unchanged: boolean, why: string): void {
    if (unchanged && !this.json) this.terminal.note(`\nNothing changed: ${why}.`);
  }

  [Symbol.dispose](): void {
    this.rpc.close();
  }
}

/** A message in protobuf's JSON mapping, with fields that have their default value. */
export function jsonText<T extends DescMessage>(
  schema: T,
  message: MessageShape<T>,
  indent?: number,
): string {
  return JSON.stringify(jsonOf(schema, message), undefined, indent);
}

function jsonOf<T extends DescMessage>(schema: T, message: MessageShape<T>): JsonValue {
  return toJson(schema, message, { alwaysEmitImplicit: true });
}

/** Wraps a command that talks to a service: opens the session before it and closes it after it. */
export function withSession<A extends unknown[]>(
  cli: Cli,
  run: (session: Session, ...args: A) => Promise<void>,
): (...args: [...A, Command]) => Promise<void> {
  return async (...args) => {
    const command = args.at(-1) as Command;
    using session = await openSession(cli, command.optsWithGlobals<GlobalOptions>());
    await run(session, ...(args.slice(0, -1) as A));
  };
}

/** Connects to the service that the options name. The connection is made with the first call. */
async function openSession(cli: Cli, options: GlobalOptions): Promise<Session> {
  const connection = await connectionTo(options);
  const token = options.token ?? (await localToken(connection.address, options.dataDir));
  const rpc = new RpcClient({ ...connection, token, userAgent: "device-ota-cli" });
  return new Session({ rpc, cli, json: options.json === true, connection });
}

/** The token of the service on this machine. It is never sent to another machine. */
async function localToken(address: string, dataDir: string): Promise<string | undefined> {
  if (!/^(?:127\.\d+\.\d+\.\d+|localhost|\[::1\]):/.test(address)) return undefined;
  return await readAdminToken(dataDir);
}
