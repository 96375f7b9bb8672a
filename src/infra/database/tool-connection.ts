import pg from "pg";
import { connectionSettings } from "./connection-settings.ts";

/** A connection of its own, closed by disposing. */
export type ToolConnection = pg.Client & AsyncDisposable;

/** A connection for a tool that works on the database beside the service. Its statements take as long as they take. */
export async function openToolConnection(url: string): Promise<ToolConnection> {
  const client = new pg.Client({
    ...connectionSettings(url, "tool"),
    statement_timeout: 0,
    query_timeout: 0,
    idle_in_transaction_session_timeout: 0,
  });
  // Without a handler a connection that dies would end the process. Its queries fail by themselves.
  client.on("error", () => undefined);
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}
