import { Migration } from "@mikro-orm/migrations";

/**
 * Who may enrol under a serial number that is known: nobody but whoever repeats the latest enrolment as it was, and whom an
 * operator lets in for a while. What was reset before, and has not enrolled again, keeps its leave for a day.
 */
export class EnrolmentConsent extends Migration {
  override up(): void {
    this.addSql(`alter table devices
      add column enrol_until timestamptz,
      add column enrolled_at timestamptz,
      add column enrol_source text,
      add column enrol_digest bytea,
      add column quarantined_at timestamptz,
      add column blocked_at timestamptz`);
    this.addSql("alter table enrolment_keys add column require_approval boolean not null default false");
    this.addSql(`update devices d set enrol_until = now() + interval '1 day'
      where not is_deleted and not exists (
        select from device_credentials c where c.device_id = d.id and c.revoked_at is null)`);
  }

  override down(): void {
    this.addSql(`alter table devices
      drop column enrol_until,
      drop column enrolled_at,
      drop column enrol_source,
      drop column enrol_digest,
      drop column quarantined_at,
      drop column blocked_at`);
    this.addSql("alter table enrolment_keys drop column require_approval");
  }
}
