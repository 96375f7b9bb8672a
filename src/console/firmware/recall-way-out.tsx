import type { Recall } from "../../../gen/ota/v1/firmware_pb.js";
import { Link } from "../ui/link.tsx";
import { runningWords } from "../words/firmware-words.ts";

/** Why a version is recalled, where its devices go, by what, and how many run it still. */
export function RecallWayOut({ recall }: { readonly recall: Recall }) {
  return (
    <>
      {recall.reason !== "" && `: ${recall.reason}`}. Whoever runs it is offered{" "}
      <Link to="/firmware/$firmwareId" params={{ firmwareId: recall.replacementId }}>
        {recall.replacementVersion}
      </Link>{" "}
      by{" "}
      <Link to="/rollouts/$rolloutId" params={{ rolloutId: recall.rolloutId }}>
        its way out
      </Link>
      . {runningWords(recall)}
    </>
  );
}
