import { defineEntity, p } from "@mikro-orm/core";
import { createdAt, instant } from "../../infra/database/columns.ts";

/** A product with TUF metadata. Its row is locked by whoever changes what is published. */
export const TufRepositoryEntity = defineEntity({
  name: "TufRepository",
  tableName: "tuf_repositories",
  properties: { product: p.text().primary(), createdAt: createdAt() },
});

/** A metadata file, as it is served. Of timestamps there is the newest, of snapshots and targets are some, of roots all. */
export const TufMetadataEntity = defineEntity({
  name: "TufMetadata",
  tableName: "tuf_metadata",
  properties: {
    product: p.text().primary(),
    role: p.text().primary(),
    version: p.integer().primary(),
    content: p.blob(),
    expiresAt: instant(),
    createdAt: createdAt(),
  },
});

/** A key of the service for snapshot and timestamp of one product. */
export const TufOnlineKeyEntity = defineEntity({
  name: "TufOnlineKey",
  tableName: "tuf_online_keys",
  properties: {
    /** As TUF metadata has it. */
    id: p.text().primary(),
    product: p.text(),
    privateKeyPem: p.text(),
    publicKeyPem: p.text(),
    createdAt: createdAt(),
  },
  indexes: [{ name: "tuf_online_keys_product_index", properties: ["product"] }],
});
