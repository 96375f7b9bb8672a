import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

/** A bare node:http server that pipes a file, or the range of it that is asked for. */
export function httpFloor(file: string): Server {
  return createServer((request, response) => void serve(file, request, response));
}

async function serve(
  file: string,
  { method, headers }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const range = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "");
  if (range !== null) {
    const [start, end] = [Number(range[1]), Number(range[2])];
    response.writeHead(206, { "content-length": end - start + 1 });
    createReadStream(file, { start, end }).pipe(response);
    return;
  }
  response.writeHead(200, { "content-length": (await stat(file)).size });
  if (method === "HEAD") response.end();
  else createReadStream(file).pipe(response);
}
