import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import { type Person, PersonSchema } from "../../gen/ota/v1/access_pb.js";
import { AccessService, ListPeopleResponseSchema } from "../../gen/ota/v1/access_service_pb.js";
import { agoText, cleanText } from "./format.ts";
import { limitOption, noteMore, readPages } from "./paging.ts";
import { type Cli, type Session, withSession } from "./session.ts";
import { type Column, renderTable } from "./table.ts";

const { method } = AccessService;

/** `person …`: people of the OpenID Connect issuer. */
export function addPersonCommands(program: Command, cli: Cli): void {
  const person = program.command("person").description("People of the OpenID Connect issuer (role admin)");
  person
    .command("list")
    .description("List who came so far, the newest first")
    .addOption(limitOption())
    .action(
      withSession(cli, async (session, options: { limit: number }) => {
        const { items, nextPageToken } = await readPages(options.limit, async (page) => {
          const answer = await session.call(method.listPeople, page);
          return { items: answer.people, nextPageToken: answer.nextPageToken };
        });
        const answer = create(ListPeopleResponseSchema, { people: items, nextPageToken });
        session.print(ListPeopleResponseSchema, answer, () => renderPeople(session, items));
        noteMore(session, nextPageToken);
      }),
    );
  for (const [name, { description, change, done }] of Object.entries(verbs)) {
    person
      .command(name)
      .argument("<id>", "the person's id, as `person list` shows it")
      .description(description)
      .option("--reason <text>", "why, for the audit log")
      .action(
        withSession(cli, async (session, id: string, options: { reason?: string }) => {
          const answer = await change(session, { id, reason: options.reason ?? "" });
          const changed = answer.person ?? create(PersonSchema);
          session.print(PersonSchema, changed, () => done(cleanText(changed.actor)));
        }),
      );
  }
}

/** A verb with the words that it is told in. */
interface Verb {
  readonly description: string;
  readonly change: (
    session: Session,
    request: { readonly id: string; readonly reason: string },
  ) => Promise<{ readonly person?: Person | undefined }>;
  readonly done: (actor: string) => string;
}

const verbs: Readonly<Record<string, Verb>> = {
  disable: {
    description: "Let nothing of a person in any more: tokens, sessions and streams end on all replicas",
    change: (session, request) => session.call(method.disablePerson, request),
    done: (actor: string) => `Nothing of ${actor} is let in.`,
  },
  enable: {
    description: "Let a person in again, with what the issuer signs from now on",
    change: (session, request) => session.call(method.enablePerson, request),
    done: (actor: string) => `${actor} may sign in.`,
  },
  "end-sessions": {
    description: "End a person's sessions and tokens until now; it may sign in again",
    change: (session, request) => session.call(method.endPersonSessions, request),
    done: (actor: string) => `Ended the sessions of ${actor}.`,
  },
};

function renderPeople(session: Session, people: readonly Person[]): string {
  if (people.length === 0) return "Nobody has come yet.";
  const nowMs = Date.now();
  const columns: Column<Person>[] = [
    { title: "id", text: ({ id }) => id },
    { title: "name", text: ({ name }) => cleanText(name) },
    { title: "subject", text: ({ subject }) => cleanText(subject) },
    { title: "last seen", text: ({ lastSeenTime }) => agoText(lastSeenTime, nowMs) },
    {
      title: "standing",
      text: ({ disableTime }) =>
        disableTime === undefined ? "may sign in" : `shut out ${agoText(disableTime, nowMs)}`,
    },
  ];
  return renderTable(session.terminal, columns, people);
}
