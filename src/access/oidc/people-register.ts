import { LockMode } from "@mikro-orm/core";
import type { ListPosition } from "../../call/list-page.ts";
import { notFound } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import type { AuditLog } from "../audit-log.ts";
import { PersonEntity, type PersonRow } from "./person.entity.ts";

/** What a {@link PeopleRegister} is made of. */
export interface PeopleRegisterParts {
  readonly database: Pick<Database, "em" | "transact">;
  readonly audit: AuditLog;
  readonly clock: Clock;
  /** Is told of changes, after the commit; undefined where no issuer is set, and nobody comes. */
  readonly memory: { changed(id: string): void } | undefined;
}

/** Who changes something of a person, and why. */
export interface PersonChange {
  readonly actor: string;
  readonly id: string;
  readonly reason: string;
}

/** The people who came by the issuer, for administrators: who they are, and who is shut out. */
export class PeopleRegister {
  readonly #parts: PeopleRegisterParts;

  constructor(parts: PeopleRegisterParts) {
    this.#parts = parts;
  }

  /** Lists them, those who came last for the first time first. */
  async list({ limit, after }: ListPosition): Promise<PersonRow[]> {
    return await this.#parts.database
      .em()
      .find(PersonEntity, after === undefined ? {} : { id: { $lt: after } }, {
        orderBy: { id: "desc" },
        limit,
        disableIdentityMap: true,
      });
  }

  /** Lets nothing of a person in any more; who is shut out already stays so. Throws `NOT_FOUND`. */
  disable(change: PersonChange): Promise<PersonRow> {
    return this.#change(change, "person.disable", (person, now) => {
      if (person.disabledAt !== null) return false;
      person.disabledAt = now;
      return true;
    });
  }

  /** Takes that back; what was signed before does not count again. Throws `NOT_FOUND`. */
  enable(change: PersonChange): Promise<PersonRow> {
    return this.#change(change, "person.enable", (person, now) => {
      if (person.disabledAt === null) return false;
      person.disabledAt = null;
      person.endedAt = now;
      return true;
    });
  }

  /** Ends all sessions of a person, and tokens that were issued until now; new ones count. Throws `NOT_FOUND`. */
  endSessions(change: PersonChange): Promise<PersonRow> {
    return this.#change(change, "person.end_sessions", (person, now) => {
      person.endedAt = now;
      return true;
    });
  }

  async #change(
    { actor, id, reason }: PersonChange,
    action: string,
    apply: (person: PersonRow, now: Date) => boolean,
  ): Promise<PersonRow> {
    const { database, audit, clock, memory } = this.#parts;
    const person = await database.transact(async (em) => {
      const row = await em.findOne(PersonEntity, id, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (row === null) throw notFound("person", id);
      if (!apply(row, clock.now())) return row;
      const { subject, name } = row;
      await audit.record(em, {
        actor,
        action,
        resourceType: "person",
        resourceId: id,
        reason,
        details: { subject, name },
      });
      return row;
    });
    memory?.changed(id);
    return person;
  }
}
