import { type DescMethod, getOption } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { callUnaryMethod, useTransport } from "@connectrpc/connect-query";
import { Center, Loader } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, lazy, type ReactNode, Suspense, use, useMemo } from "react";
import { Role } from "../../../gen/ota/v1/access_pb.js";
import { AccessService, type WhoAmIResponse } from "../../../gen/ota/v1/access_service_pb.js";
import { access } from "../../../gen/ota/v1/method_access_pb.js";
import { consoleHeaders } from "../data/transport.ts";
import { actorName } from "../ui/actor-name.ts";
import { Failure, isConnectError } from "../ui/failure.tsx";

/** Who works here. */
export interface Session {
  /** As the audit log has it. */
  readonly actor: string;
  /** The name of the operator's token, or what the person is called. */
  readonly name: string;
  readonly role: Role;
  /** Whether the contract lets the token call a method; what it does not is not offered. The service refuses it all the same. */
  readonly can: (method: DescMethod) => boolean;
  /** Whether the token opens some products or devices only. */
  readonly isLimited: boolean;
  /** Ends the session in this browser. */
  readonly signOut: () => Promise<void>;
}

/** Where the answer to "who am I" is kept. */
export const sessionKey = ["session"] as const;

/** Not part of the first load of somebody who is signed in. */
const SignInPage = lazy(async () => ({ default: (await import("./sign-in-page.tsx")).SignInPage }));

const SessionContext = createContext<Session | undefined>(undefined);

/** The session; only below {@link SessionGate}. */
export function useSession(): Session {
  const session = use(SessionContext);
  if (session === undefined) throw new Error("there is no session here");
  return session;
}

/** Shows its children to who is signed in, and the sign-in page, at the same address, to everyone else. */
export function SessionGate({ children }: { readonly children: ReactNode }) {
  const transport = useTransport();
  const queries = useQueryClient();
  const { data, error, refetch } = useQuery({
    queryKey: sessionKey,
    queryFn: ({ signal }) => callUnaryMethod(transport, AccessService.method.whoAmI, {}, { signal }),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const session = useMemo<Session | undefined>(
    () =>
      data && {
        actor: data.actor,
        name: actorName(data.actor),
        role: data.role,
        isLimited: isLimited(data),
        can: (method) => mayCall(data, method),
        signOut: async () => {
          await fetch("/session", { method: "DELETE", headers: consoleHeaders });
          // Nothing that was read stays behind; the question who is signed in is asked anew.
          await queries.resetQueries();
        },
      },
    [data, queries],
  );
  if (error !== null && isConnectError(error) && error.code === Code.Unauthenticated) {
    return (
      <Suspense>
        <SignInPage signedIn={() => queries.resetQueries()} />
      </Suspense>
    );
  }
  if (session !== undefined) return <SessionContext value={session}>{children}</SessionContext>;
  return (
    <Center component="main" h="100vh" p="md">
      {error === null ? (
        <Loader aria-label="Loading" />
      ) : (
        <Failure error={error} doing="reach the service" retry={refetch} />
      )}
    </Center>
  );
}

/** A token with limits may call what can be held against them. */
function mayCall(caller: WhoAmIResponse, method: DescMethod): boolean {
  const { role, scope } = getOption(method, access);
  return role !== Role.UNSPECIFIED && caller.role >= role && (!isLimited(caller) || scope !== undefined);
}

function isLimited({ products, deviceFilter }: WhoAmIResponse): boolean {
  return products.length > 0 || deviceFilter !== "";
}

/** The roles in words. */
export const roleNames: Readonly<Record<Role, string>> = {
  [Role.UNSPECIFIED]: "none",
  [Role.VIEWER]: "viewer",
  [Role.OPERATOR]: "operator",
  [Role.ADMIN]: "admin",
};
