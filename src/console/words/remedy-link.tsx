import { type Remedy, RemedyAction } from "../../../gen/ota/v1/remedy_pb.js";
import { Link } from "../ui/link.tsx";

/** Where in the console a remedy is done, or what it is about is seen; nothing if there is no such page. */
export function RemedyLink({ remedy }: { readonly remedy: Remedy }) {
  const { action, rolloutId, ring, firmwareId, product, version } = remedy;
  switch (action) {
    case RemedyAction.UPLOAD_FIRMWARE:
      return <Link to="/firmware/new">Upload {version}</Link>;
    case RemedyAction.RELEASE_FIRMWARE:
      return (
        <Link to="/firmware/$firmwareId" params={{ firmwareId }}>
          Release {version}
        </Link>
      );
    case RemedyAction.RETRY_DEVICES:
      return (
        <Link
          to="/rollouts/$rolloutId"
          params={{ rolloutId }}
          search={{ devices: "failed", ring }}
          hash="devices"
        >
          See who failed
        </Link>
      );
    case RemedyAction.BRING_ONLINE:
      return (
        <Link to="/devices" search={{ filter: unheard }}>
          See who is not heard
        </Link>
      );
    case RemedyAction.PROMOTE:
    case RemedyAction.APPROVE:
    case RemedyAction.ROLL_BACK:
    case RemedyAction.ABORT:
      return (
        <Link to="/rollouts/$rolloutId" params={{ rolloutId }}>
          Look at it
        </Link>
      );
    case RemedyAction.ENROL_DEVICES:
      return <Link to="/access">Enrolment keys</Link>;
    case RemedyAction.SET_PRODUCT:
      return <Link to="/devices">Devices</Link>;
    case RemedyAction.NAME_VERSION:
      return (
        <Link to="/firmware" search={{ product }}>
          Firmware of {product}
        </Link>
      );
    case RemedyAction.UNSPECIFIED:
      return null;
  }
}

const unheard = "presence = OFFLINE OR presence = UNKNOWN";
