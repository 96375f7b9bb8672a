import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { PersonSchema } from "../../../gen/ota/v1/access_pb.js";
import { AccessService } from "../../../gen/ota/v1/access_service_pb.js";
import { apiCalls, type Endpoint, unary } from "../../api/pipeline/endpoint.ts";
import { actorOf, personActor } from "../../call/identity.ts";
import { listPage } from "../../call/list-page.ts";
import type { PageTokens } from "../../call/page-token.ts";
import type { PeopleRegister } from "./people-register.ts";
import type { PersonRow } from "./person.entity.ts";

/** What the handlers call. */
export interface PeopleEndpointParts {
  readonly people: PeopleRegister;
  readonly pageTokens: PageTokens;
}

/** The endpoints of AccessService for people of the OpenID Connect issuer. */
export function peopleEndpoints({ people, pageTokens }: PeopleEndpointParts): Endpoint[] {
  const { listPeople, disablePerson, enablePerson, endPersonSessions } = AccessService.method;
  return [
    unary(listPeople, apiCalls, async (request) => {
      const page = await listPage(pageTokens, request, "people", {
        list: (position) => people.list(position),
        keyOf: ({ id }) => id,
      });
      return { people: page.rows.map(personMessage), nextPageToken: page.nextPageToken };
    }),
    unary(disablePerson, apiCalls, async ({ id, reason }, { identity }) => ({
      person: personMessage(await people.disable({ actor: actorOf(identity), id, reason })),
    })),
    unary(enablePerson, apiCalls, async ({ id, reason }, { identity }) => ({
      person: personMessage(await people.enable({ actor: actorOf(identity), id, reason })),
    })),
    unary(endPersonSessions, apiCalls, async ({ id, reason }, { identity }) => ({
      person: personMessage(await people.endSessions({ actor: actorOf(identity), id, reason })),
    })),
  ];
}

function personMessage(person: PersonRow): MessageInitShape<typeof PersonSchema> {
  const { id, issuer, subject, name, createdAt, lastSeenAt, endedAt, disabledAt } = person;
  return {
    id,
    issuer,
    subject,
    name,
    actor: personActor(subject, name),
    createTime: timestampFromDate(createdAt),
    lastSeenTime: timestampFromDate(lastSeenAt),
    ...(endedAt === null ? {} : { endTime: timestampFromDate(endedAt) }),
    ...(disabledAt === null ? {} : { disableTime: timestampFromDate(disabledAt) }),
  };
}
