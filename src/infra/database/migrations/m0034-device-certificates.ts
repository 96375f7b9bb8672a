import { Migration } from "@mikro-orm/migrations";

/**
 * Devices that are known by certificates. Who holds a certificate is no row here, for their authority says it; but a reset must
 * shut out those that were issued before, and let the one in with which the device then enrols.
 */
export class DeviceCertificates extends Migration {
  override up(): void {
    this.addSql(`alter table devices
      add column certificates_since timestamptz,
      add column certificate_sha256 bytea`);
  }

  override down(): void {
    this.addSql("alter table devices drop column certificates_since, drop column certificate_sha256");
  }
}
