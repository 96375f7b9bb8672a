import type { Socket } from "node:net";

/**
 * Lets a client read its answer where the rest of its request is not wanted (RFC 9112, section 9.6). Node.js closes such a connection at
 * once; what is still on its way is then answered with a reset, by which the client may lose what it had been sent. So the connection is
 * ended, and closed for good when the client ends it too, sends nothing for a while, or too much. Call it before the connection's first
 * request.
 */
export function lingerAtClose(socket: Socket): void {
  const closeAtOnce = socket.destroySoon.bind(socket);
  socket.destroySoon = () => {
    if (socket.destroyed || socket.readableEnded) return closeAtOnce();
    socket.end();
    // Nothing that comes is a request any more.
    socket.removeAllListeners("data");
    let dropped = 0;
    socket.on("data", ({ length }: Buffer) => {
      dropped += length;
      if (dropped > mostDropped) socket.destroy();
    });
    socket.once("end", () => socket.destroy());
    socket.setTimeout(lingerMs, () => socket.destroy());
    socket.resume();
  };
}

/** As nginx waits. */
const lingerMs = 5_000;

/** More than a connection has on its way: who goes on sends without listening. */
const mostDropped = 1024 * 1024;
