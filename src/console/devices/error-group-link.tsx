import type { ReactNode } from "react";
import { ErrorService } from "../../../gen/ota/v1/error_service_pb.js";
import { useSession } from "../session/session.tsx";
import { Link } from "../ui/link.tsx";

/** Leads from an error of a device to all errors of its cause; no link for who may not see those, as they are the whole fleet's. */
export function ErrorGroupLink({
  groupId,
  children,
}: {
  readonly groupId: string;
  readonly children: ReactNode;
}) {
  const { can } = useSession();
  if (groupId === "" || !can(ErrorService.method.getErrorGroup)) return children;
  return (
    <Link to="/crashes/$groupId" params={{ groupId }}>
      {children}
    </Link>
  );
}
