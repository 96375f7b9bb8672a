import pg from "pg";
import { connectionSettings } from "./connection-settings.ts";
import { type Session, sessionOn } from "./session.ts";

/** A session on one connection of its own, for a tool that works on the database beside the service; closed by disposing. */
export async function openSession(url: string): Promise<Session & AsyncDisposable> {
  // A count of everything takes as long as it takes.
  const settings = { ...connectionSettings(url, "tool"), statement_timeout: 0, query_timeout: 0 };
  const client = new pg.Client(settings);
  // Without a handler a connection that dies would end the process. Its queries fail by themselves.
  client.on("error", () => undefined);
  await client.connect();
  return { ...sessionOn(client), [Symbol.asyncDispose]: () => client.end() };
}
