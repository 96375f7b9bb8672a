import { Migration } from "@mikro-orm/migrations";

/** Tokens that wait for their first use, to take the place of the one before; and devices' own public keys. A device has one at most, and the row goes when the key counts no more: the audit log knows it. */
export class DeviceKeys extends Migration {
  override up(): void {
    this.addSql("alter table device_credentials add column is_next boolean not null default false");
    this.addSql(`create table device_keys (device_id uuid not null, public_key bytea not null,
      created_at timestamptz not null default now(), constraint device_keys_pkey primary key (device_id))`);
    this.addSql(`alter table device_keys add constraint device_keys_device_id_foreign
      foreign key (device_id) references devices (id) on update cascade on delete cascade`);
  }

  override down(): void {
    this.addSql("drop table device_keys");
    this.addSql("alter table device_credentials drop column is_next");
  }
}
