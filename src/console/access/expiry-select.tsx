import { type Timestamp, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Select } from "@mantine/core";

/** The choices for how long a new credential works, in days; empty for ever. */
export type Expiry = "" | "1" | "7" | "30" | "90" | "365";

interface ExpirySelectProps {
  readonly value: Expiry;
  readonly onChange: (value: Expiry) => void;
}

/** How long a new credential works. */
export function ExpirySelect({ value, onChange }: ExpirySelectProps) {
  return (
    <Select
      label="Works for"
      allowDeselect={false}
      value={value}
      data={[
        { value: "1", label: "1 day" },
        { value: "7", label: "7 days" },
        { value: "30", label: "30 days" },
        { value: "90", label: "90 days" },
        { value: "365", label: "A year" },
        { value: "", label: "Until it is revoked" },
      ]}
      onChange={(chosen) => onChange((chosen ?? "") as Expiry)}
    />
  );
}

/** When a credential made now stops working; undefined for never. */
export function expiryTime(expiry: Expiry): Timestamp | undefined {
  return expiry === "" ? undefined : timestampFromDate(new Date(Date.now() + Number(expiry) * 86_400_000));
}
