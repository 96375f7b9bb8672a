import { v7 as uuidv7 } from "uuid";
import { credentialInvalid, credentialRevoked } from "../../call/bearer.ts";
import { personName } from "../../call/identity.ts";
import { OtaError } from "../../errors.ts";
import type { Clock } from "../../infra/clock.ts";
import type { Database } from "../../infra/database/database.ts";
import { asDatabaseError } from "../../infra/database/errors.ts";
import { prepared, sql } from "../../infra/database/sql.ts";
import { SecondChanceCache } from "../../infra/second-chance-cache.ts";
import { freshForMs, trustedForMs } from "../authenticator.ts";

/** What {@link People} are made of. */
export interface PeopleParts {
  readonly database: Pick<Database, "pool" | "listen" | "notify">;
  readonly clock: Clock;
  readonly issuer: string;
}

/** A person who may come in. */
export interface Person {
  /** UUID (version 7). */
  readonly id: string;
  /** Subject and name, as the audit log has them. */
  readonly name: string;
}

/**
 * The people of an issuer that have come so far, as the service keeps them: a row each, made when they first come, which says whether an
 * administrator shut them out. Every replica has those who come in memory, and hears of a change at once.
 */
export class People {
  readonly #parts: PeopleParts;
  readonly #stopListening: () => void;
  readonly #listeners: (() => void)[] = [];
  readonly #loading = new Map<string, Promise<KnownPerson | undefined>>();
  #known = new SecondChanceCache<KnownPerson>(maxKnown);
  /** What was read before, in monotonic milliseconds, must be read again. */
  #heardSinceMs = Number.NEGATIVE_INFINITY;

  constructor(parts: PeopleParts) {
    this.#parts = parts;
    this.#stopListening = parts.database.listen(channel, {
      notified: () => this.#forget(),
      listening: () => {
        this.#heardSinceMs = parts.clock.monotonicMs();
      },
    });
  }

  /**
   * The person of a subject, who is written down if nobody has seen it before. Throws (or rejects with) `PERSON_DISABLED`, and
   * `CREDENTIAL_REVOKED` if what was signed at `signedMs` was ended.
   */
  ofSubject(subject: string, name: string, signedMs: number): Person | Promise<Person> {
    return this.#find(`subject ${subject}`, signedMs, () => this.#meet(subject, name));
  }

  /** The person of an id, likewise. Throws `CREDENTIAL_INVALID` if there is none. */
  ofId(id: string, signedMs: number): Person | Promise<Person> {
    return this.#find(`id ${id}`, signedMs, () => this.#read(byIdSql, [id, this.#parts.issuer]));
  }

  /** Says that a person was changed, after the commit: this replica knows at once, the others soon. */
  changed(id: string): void {
    this.#forget();
    this.#parts.database.notify(channel, id);
  }

  /** Tells the listener whenever somebody was shut out or let in, on whichever replica. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Stops listening. */
  close(): void {
    this.#stopListening();
  }

  /** Changes are rare and people few: all are read again. */
  #forget(): void {
    this.#known = new SecondChanceCache(maxKnown);
    this.#heardSinceMs = this.#parts.clock.monotonicMs();
    this.#loading.clear();
    for (const listener of this.#listeners) listener();
  }

  #find(
    key: string,
    signedMs: number,
    load: () => Promise<KnownPerson | undefined>,
  ): Person | Promise<Person> {
    const known = this.#known.get(key);
    const nowMs = this.#parts.clock.monotonicMs();
    if (known !== undefined && known.readAtMs >= this.#heardSinceMs && nowMs - known.readAtMs < freshForMs)
      return admit(known, signedMs);
    return this.#load(key, known, load).then((person) => admit(person, signedMs));
  }

  async #load(
    key: string,
    known: KnownPerson | undefined,
    load: () => Promise<KnownPerson | undefined>,
  ): Promise<KnownPerson> {
    const loading = this.#loading.get(key) ?? load();
    this.#loading.set(key, loading);
    try {
      const person = await loading;
      if (person === undefined) throw credentialInvalid();
      // What was read while somebody was changed may be what was before.
      if (person.readAtMs >= this.#heardSinceMs) this.#known.set(key, person);
      return person;
    } catch (error) {
      const outage = asDatabaseError(error);
      if (outage === undefined) throw error;
      // While the database is away nobody can be shut out, so what was true a moment ago still is.
      if (known !== undefined && this.#parts.clock.monotonicMs() - known.readAtMs < trustedForMs)
        return known;
      throw outage;
    } finally {
      if (this.#loading.get(key) === loading) this.#loading.delete(key);
    }
  }

  #meet(subject: string, name: string): Promise<KnownPerson | undefined> {
    const { issuer, clock } = this.#parts;
    return this.#read(meetSql, [uuidv7(), issuer, subject, name, clock.now()]);
  }

  async #read(statement: typeof byIdSql, values: readonly unknown[]): Promise<KnownPerson | undefined> {
    const readAtMs = this.#parts.clock.monotonicMs();
    const [row] = await this.#parts.database.pool.query<PersonFacts>(statement, values);
    return (
      row && {
        person: { id: row.id, name: personName(row.subject, row.name) },
        disabled: row.disabled_at !== null,
        endedMs: row.ended_at?.getTime() ?? Number.NEGATIVE_INFINITY,
        used: false,
        readAtMs,
      }
    );
  }
}

function admit({ person, disabled, endedMs }: KnownPerson, signedMs: number): Person {
  if (disabled) {
    throw new OtaError("unauthenticated", "PERSON_DISABLED", `an administrator has shut out ${person.name}`, {
      metadata: { person: person.id },
    });
  }
  if (signedMs <= endedMs) throw credentialRevoked();
  return person;
}

interface KnownPerson {
  readonly person: Person;
  readonly disabled: boolean;
  /** What was signed at this time or before, in milliseconds since 1970, was ended. */
  readonly endedMs: number;
  used: boolean;
  /** Monotonic milliseconds of the start of the read. */
  readonly readAtMs: number;
}

interface PersonFacts {
  readonly id: string;
  readonly subject: string;
  readonly name: string;
  readonly ended_at: Date | null;
  readonly disabled_at: Date | null;
}

/** More people than any fleet has operators. */
const maxKnown = 10_000;

const channel = "people_changed";

const meetSql = prepared(
  "access_meet_person",
  sql`
  INSERT INTO oidc_people (id, issuer, subject, name, last_seen_at) VALUES ($1::uuid, $2, $3, $4, $5::timestamptz)
      ON CONFLICT (issuer, subject)
      DO UPDATE SET last_seen_at = greatest(oidc_people.last_seen_at, excluded.last_seen_at)
  RETURNING id, subject, name, ended_at, disabled_at`,
);

const byIdSql = prepared(
  "access_read_person",
  sql`
  SELECT id, subject, name, ended_at, disabled_at FROM oidc_people WHERE id = $1::uuid AND issuer = $2`,
);
