import type { Message } from "@bufbuild/protobuf";
import type { MethodScope } from "../../../gen/ota/v1/method_access_pb.js";
import type { Identity } from "../../call/identity.ts";
import { devicesOf, narrowedFilter, productsOf, type Scope } from "../../call/scope.ts";
import { OtaError } from "../../errors.ts";
import type { CallContext, Endpoint } from "./endpoint.ts";
import { textChanger, textsReader } from "./field-path.ts";

/** Says what lies within the limits of a token. What does not exist lies within none. */
export interface ScopeJudge {
  devicesWithin(scope: Scope, ids: readonly string[]): Promise<ReadonlySet<string>>;
  firmwareWithin(scope: Scope, ids: readonly string[]): Promise<ReadonlySet<string>>;
  rolloutsWithin(scope: Scope, ids: readonly string[]): Promise<ReadonlySet<string>>;
}

/**
 * Holds calls of tokens with limits against them, before the handler sees the request: by the fields that the contract names
 * ({@link MethodScope}). A method that says nothing of it is refused to such tokens by the pipeline already.
 */
export function scopedEndpoint(endpoint: Endpoint, judge: ScopeJudge): Endpoint {
  const { scope: rule } = endpoint.access;
  if (rule === undefined) return endpoint;
  const guard = new ScopeGuard(endpoint, rule, judge);
  const handle = endpoint.handle as (request: unknown, context: CallContext) => unknown;
  return { ...endpoint, handle: guarded[endpoint.kind](guard, handle) } as unknown as Endpoint;
}

/** The limits of a caller; undefined if there are none. */
export function scopeOfCaller(identity: Identity): Scope | undefined {
  return identity.kind === "operator" ? identity.scope : undefined;
}

/** The answer to what lies beyond a token's limits; the same whether it exists or not (AIP-211). */
export function outOfScope(words: string): OtaError {
  return new OtaError("permission_denied", "OUT_OF_SCOPE", words);
}

type Handle = (request: unknown, context: CallContext) => unknown;

const guarded: Readonly<Record<Endpoint["kind"], (guard: ScopeGuard, handle: Handle) => Handle>> = {
  unary: (guard, handle) => (request, context) => {
    const scope = scopeOfCaller(context.identity);
    if (scope === undefined) return handle(request, context);
    return guard
      .admit(scope, request as Message)
      .then(() => handle(request, context))
      .then((answer) => guard.withoutOthers(scope, answer as object));
  },
  server_stream: (guard, handle) => (request, context) => {
    const scope = scopeOfCaller(context.identity);
    if (scope === undefined) return handle(request, context);
    return (async function* () {
      await guard.admit(scope, request as Message);
      yield* handle(request, context) as AsyncIterable<unknown>;
    })();
  },
  client_stream: guardedRequests,
  bidi_stream: guardedRequests,
};

function guardedRequests(guard: ScopeGuard, handle: Handle): Handle {
  return (requests, context) => {
    const scope = scopeOfCaller(context.identity);
    if (scope === undefined) return handle(requests, context);
    return handle(guard.admitFirst(scope, requests as AsyncIterable<Message>), context);
  };
}

/** A kind of thing that requests name. */
interface Named {
  readonly what: string;
  readonly read: (message: Message) => readonly string[];
  readonly within: (
    scope: Scope,
    names: readonly string[],
  ) => ReadonlySet<string> | Promise<ReadonlySet<string>>;
}

/** The limits of one method. */
class ScopeGuard {
  readonly #named: readonly Named[];
  readonly #filters: ((message: Message, change: (text: string) => string) => void) | undefined;
  /** Whether the filter chooses among a firmware's devices: its product is judged by the firmware then. */
  readonly #ofFirmware: boolean;
  readonly #needsName: boolean;
  readonly #listed: readonly [field: string, within: Named["within"]][];
  /** Of what is listed: what is left out must not show in where a page ends either, for a filter asks anything. */
  readonly #listFilter: ((message: Message, change: (text: string) => string) => void) | undefined;

  constructor({ method: { input, output } }: Endpoint, rule: MethodScope, judge: ScopeJudge) {
    const firmware: Named["within"] = (scope, ids) => judge.firmwareWithin(scope, ids);
    const rollouts: Named["within"] = (scope, ids) => judge.rolloutsWithin(scope, ids);
    // UUIDs are told in lower case, and may be written in upper case.
    const named: readonly [path: string, what: string, within: Named["within"]][] = [
      [rule.deviceField, "device", (scope, ids) => judge.devicesWithin(scope, ids)],
      [rule.productField, "product", productsWithin],
      [rule.firmwareField, "firmware", firmware],
      [rule.otherFirmwareField, "firmware", firmware],
      [rule.rolloutField, "rollout", rollouts],
    ];
    this.#named = named
      .filter(([path]) => path !== "")
      .map(([path, what, within]) => {
        const read = textsReader(input, path);
        const isId = what !== "product";
        return { what, within, read: isId ? (message) => read(message).map((id) => id.toLowerCase()) : read };
      });
    this.#filters = rule.filterField === "" ? undefined : textChanger(input, rule.filterField);
    this.#ofFirmware = rule.firmwareField !== "";
    this.#listed = [
      [rule.listedFirmwareField, firmware] as const,
      [rule.listedRolloutsField, rollouts] as const,
    ].flatMap(([path, within]) => {
      const field = path === "" ? undefined : output.fields.find(({ name }) => name === path);
      return field === undefined ? [] : [[field.localName, within] as [string, Named["within"]]];
    });
    this.#listFilter = this.#listed.length === 0 ? undefined : textChanger(input, "filter");
    this.#needsName = !rule.nothing && this.#listed.length === 0;
  }

  /** Refuses a request beyond the limits, and narrows its filter to them. Rejects with `OUT_OF_SCOPE`. */
  async admit(scope: Scope, request: Message): Promise<void> {
    this.#listFilter?.(request, (filter) => narrowedFilter(productsOf(scope), filter));
    const found = new Set<string>();
    for (const { what, read, within } of this.#named) {
      const names = read(request);
      if (names.length === 0) continue;
      found.add(what);
      const inside = await within(scope, names);
      const outside = names.find((name) => !inside.has(name));
      if (outside !== undefined) {
        throw outOfScope(
          `the token is limited, and ${what} ${outside} is beyond that (or it might not exist)`,
        );
      }
    }
    if (this.#filters !== undefined && !found.has("device") && !found.has("rollout")) {
      const limit = this.#ofFirmware ? scope.deviceFilter : devicesOf(scope);
      // A targeting that is not given is not the same as one that chooses everything.
      if (limit !== "") this.#filters(request, (filter) => narrowedFilter(limit, filter));
      return;
    }
    if (this.#needsName && found.size === 0) {
      const fields = this.#named.map(({ what }) => what).join(", ");
      throw outOfScope(`the token is limited, so the call must name what it is about: ${fields}`);
    }
  }

  /** Admits a stream by its first message, which is the one that names what it is about. */
  async *admitFirst(scope: Scope, requests: AsyncIterable<Message>): AsyncGenerator<Message> {
    let isFirst = true;
    for await (const request of requests) {
      if (isFirst) await this.admit(scope, request);
      isFirst = false;
      yield request;
    }
  }

  /** An answer without what it lists beyond the limits. */
  async withoutOthers(scope: Scope, answer: object): Promise<object> {
    const kept: Record<string, unknown> = { ...answer };
    for (const [field, within] of this.#listed) {
      const rows = (kept[field] ?? []) as readonly { readonly id: string }[];
      const inside = await within(
        scope,
        rows.map(({ id }) => id),
      );
      kept[field] = rows.filter(({ id }) => inside.has(id));
    }
    return kept;
  }
}

function productsWithin({ products }: Scope, names: readonly string[]): ReadonlySet<string> {
  return new Set(products.length === 0 ? names : products);
}
