import { useQuery } from "@connectrpc/connect-query";
import { Select } from "@mantine/core";
import { FirmwareState } from "../../../gen/ota/v1/firmware_pb.js";
import { FirmwareService } from "../../../gen/ota/v1/firmware_service_pb.js";
import { firmwareTitle } from "../words/firmware-words.ts";

interface RollbackTargetProps {
  /** What must not be gone back to, and the product of what may. */
  readonly rollout: { readonly firmwareId: string; readonly product: string };
  /** The firmware's id; empty for each device's own version before. */
  readonly value: string;
  readonly onChange: (firmwareId: string) => void;
}

/** What devices go back to: by default the version that each came from, or a released one of the same product. */
export function RollbackTarget({ rollout, value, onChange }: RollbackTargetProps) {
  const { data } = useQuery(FirmwareService.method.listFirmware, {
    states: [FirmwareState.RELEASED],
    pageSize: 1_000,
  });
  const choices = data?.firmware.filter(
    ({ id, product, recall }) =>
      id !== rollout.firmwareId && product === rollout.product && recall === undefined,
  );
  return (
    <Select
      label="Roll back to"
      description="A version that was itself rolled back, or is recalled, is refused."
      allowDeselect={false}
      data={[
        { value: "", label: "the version that each device came from" },
        ...(choices ?? []).map((each) => ({ value: each.id, label: firmwareTitle(each) })),
      ]}
      value={value}
      onChange={(id) => onChange(id ?? "")}
    />
  );
}
