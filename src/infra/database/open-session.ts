import { type Session, sessionOn } from "./session.ts";
import { openToolConnection } from "./tool-connection.ts";

/** A session on one connection of its own, for a tool that works on the database beside the service; closed by disposing. */
export async function openSession(url: string): Promise<Session & AsyncDisposable> {
  const client = await openToolConnection(url);
  return { ...sessionOn(client), [Symbol.asyncDispose]: () => client[Symbol.asyncDispose]() };
}
