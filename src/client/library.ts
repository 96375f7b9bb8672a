/** What the package `device-ota-client` gives to whoever calls the service; the messages are in `device-ota-client/ota/v1/`. */
export { ClientError } from "./client-error.ts";
export { type BidiCall, type CallOptions, RpcClient, type RpcClientOptions } from "./rpc-client.ts";
export type { TokenSource } from "./token-source.ts";
