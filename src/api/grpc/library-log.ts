import type { Logger } from "pino";

/**
 * Where grpc-js writes what it has to say, in place of its lines on standard error. Any caller can make it write, for example with a
 * header that is no ASCII, so it is told at `debug`; and only up to the first colon, behind which there may be a token.
 */
export function libraryLog(logger: Logger): Partial<Console> {
  const write = (message: unknown): void => {
    logger.debug({ library: "grpc-js" }, String(message).split(":", 1)[0]);
  };
  return { error: write, info: write, debug: write };
}
