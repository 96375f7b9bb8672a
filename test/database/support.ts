import { entities } from "../../src/entities.ts";
import { Database } from "../../src/infra/database/database.ts";
import { createLogger, type Logger } from "../../src/infra/logger.ts";

const silent: Logger = createLogger({ level: "silent", pretty: false });

export function connect(url: string, logger = silent): Promise<Database> {
  return Database.connect({ url, logger, entities });
}

/** Listens to a channel and keeps what it hears. */
export function recordChannel(database: Database, channel: string) {
  const record = { listening: 0, payloads: [] as string[], stop: (): void => undefined };
  record.stop = database.listen(channel, {
    listening: () => {
      record.listening += 1;
    },
    notified: (payload) => {
      record.payloads.push(payload);
    },
  });
  return record;
}
