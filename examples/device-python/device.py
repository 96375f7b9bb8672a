"""A whole device over gRPC: it enrols, holds the heartbeat stream with a backlog, asks when it is told to, downloads with resume,
verifies the signed manifest, installs, reports, and proves the update by its heartbeats after the next start. From outside: SERVICE
(host:port), ENROLMENT_KEY, SERIAL_NUMBER, DEVICE_TYPE, HARDWARE_MODEL, PRODUCT, TRUSTED_KEY (a public key, PEM), INSTALL_HOOK, and
STATE_DIR, which survives reboots and holds the `version` that runs. `./generate OUT` makes the code of the contract: PYTHONPATH=OUT."""

import hashlib, json, os, random, subprocess, threading, time, uuid
from pathlib import Path

import grpc
from manifest import Refused, believed, refuse_if
from ota.v1 import device_service_pb2 as device, device_service_pb2_grpc, heartbeat_pb2, heartbeat_service_pb2 as stream
from ota.v1 import heartbeat_service_pb2_grpc, rollout_pb2 as rollout, update_service_pb2 as update, update_service_pb2_grpc

env, folder = os.environ, Path(os.environ["STATE_DIR"])
version = (folder / "version").read_text().strip()
boot_id, started = str(uuid.uuid4()), time.monotonic()  # a real device has /proc/sys/kernel/random/boot_id
lock, asked = threading.RLock(), threading.Event()  # `asked`: the service has an update to check for

def say(text):
    print(f"{env['SERIAL_NUMBER']} (python): {text}", flush=True)

def keep(**facts):
    """Keeps what survives a reboot, whole or not at all."""
    with lock:
        memory.update(facts)
        with open(folder / "memory.new", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            json.dump(memory, file)
            file.flush()
            os.fsync(file.fileno())
        (folder / "memory.new").replace(folder / "memory")

memory = {"sequence": 0, "counter": 0, "ran": [], "backlog": [], "request": str(uuid.uuid4()), "installed": ["", 0]}
memory |= json.loads((folder / "memory").read_text()) if (folder / "memory").exists() else {}
keep(ran=sorted({*memory["ran"], version}), counter=memory["installed"][1] if memory["installed"][0] == version else memory["counter"])

# With TLS: grpc.secure_channel and grpc.ssl_channel_credentials(). The keepalive finds out that a network is gone, which TCP does not tell.
channel = grpc.insecure_channel(env["SERVICE"], [("grpc.keepalive_time_ms", 60_000)])
heartbeats = heartbeat_service_pb2_grpc.HeartbeatServiceStub(channel)
updates = update_service_pb2_grpc.UpdateServiceStub(channel)

def enrol():
    # The same request id at each try: if the answer was lost, the next one brings the same device.
    answer = device_service_pb2_grpc.DeviceServiceStub(channel).EnrolDevice(device.EnrolDeviceRequest(
        request_id=memory["request"], enrolment_key=env["ENROLMENT_KEY"], serial_number=env["SERIAL_NUMBER"],
        device_type=env["DEVICE_TYPE"], hardware_model=env["HARDWARE_MODEL"], firmware_version=version), timeout=30)
    keep(token=answer.device_token, id=answer.device.id, epoch=answer.epoch)
    say("enrolled")

def beat_for_ever(welcome):
    """Every heartbeat goes into the backlog first, and leaves it when the service has said that it is durable."""
    while True:
        beat = heartbeat_pb2.Heartbeat(sequence=memory["sequence"] + 1, firmware_version=version, boot_id=boot_id)
        beat.device_time.GetCurrentTime()
        beat.uptime.FromSeconds(int(time.monotonic() - started))
        with lock:
            keep(sequence=beat.sequence, backlog=[*memory["backlog"][-999:], [beat.sequence, beat.SerializeToString().hex()]])
            waiting = [heartbeat_pb2.Heartbeat.FromString(bytes.fromhex(text)) for _, text in memory["backlog"]]
        yield stream.StreamHeartbeatsRequest(batch=stream.HeartbeatBatch(heartbeats=waiting[:welcome.max_batch_size]))
        jitter = random.uniform(0, welcome.heartbeat_jitter.ToTimedelta().total_seconds())
        time.sleep(welcome.heartbeat_interval.ToTimedelta().total_seconds() + jitter)

def hold_stream():
    welcome, welcomed = stream.Welcome(), threading.Event()
    def requests():
        yield stream.StreamHeartbeatsRequest(hello=stream.Hello(device_id=memory["id"], epoch=memory["epoch"], boot_id=boot_id,
            last_sequence=memory["sequence"], firmware_version=version, security_counter=memory["counter"]))
        if welcomed.wait(60):
            yield from beat_for_ever(welcome)
    for message in heartbeats.StreamHeartbeats(requests(), metadata=credential):
        if message.HasField("welcome"):
            welcome.CopyFrom(message.welcome)
            welcomed.set()
        elif message.HasField("ack"):
            with lock:
                keep(backlog=[each for each in memory["backlog"] if each[0] > message.ack.acked_through])
        elif message.directive.HasField("update_available"):
            asked.set()

def check():
    asked.clear()
    request = update.CheckForUpdateRequest(firmware_version=version, boot_id=boot_id, security_counter=memory["counter"])
    answer = updates.CheckForUpdate(request, timeout=30, metadata=credential)
    if answer.HasField("offer"):
        say(f"is offered {answer.offer.version}")
        try:
            take(answer.offer)
        except Refused as refusal:
            report(answer.offer, "FAILED", str(refusal))
    asked.wait(answer.retry_after.ToTimedelta().total_seconds())

def take(offer):
    signed = believed(offer, env, version, memory)
    report(offer, "DOWNLOADING")
    image = download(offer, signed)
    report(offer, "DOWNLOADED")
    if report(offer, "INSTALLING") >= rollout.DEVICE_UPDATE_STATE_SUCCEEDED:
        return  # the service is done with the update in the meantime
    refuse_if("INSTALL_FAILED", subprocess.run([env["INSTALL_HOOK"], "install", image, signed["version"]]).returncode)
    keep(installed=[signed["version"], signed["security_counter"]])
    image.unlink()
    report(offer, "REBOOTING")
    subprocess.run([env["INSTALL_HOOK"], "reboot"], check=True)
    say("reboots")
    os._exit(0)

def report(offer, state, reason=""):
    say(f"{state} {reason}".strip())
    return updates.ReportUpdateStatus(update.ReportUpdateStatusRequest(update_id=offer.update_id,
        state=f"DEVICE_UPDATE_STATE_{state}", failure_reason=reason), timeout=30, metadata=credential).state

def download(offer, signed):
    """The partial file has the name of the digest that it is to have, so that a break or a reboot costs nothing."""
    image = folder / f"image-{signed['sha256']}"
    with open(image, "ab") as file:
        if file.tell() > 0:
            say(f"goes on at byte {file.tell()} of {signed['size_bytes']}")
        while file.tell() < signed["size_bytes"]:  # in parts: gRPC forgets what nobody has read when a connection breaks
            request = update.DownloadFirmwareRequest(update_id=offer.update_id, offset=file.tell(), limit=512 * 1024)
            for part in updates.DownloadFirmware(request, timeout=600, metadata=credential):
                file.write(part.chunk.data)
                refuse_if("SIZE_MISMATCH", file.tell() > signed["size_bytes"])
        file.flush()
        os.fsync(file.fileno())
    if hashlib.sha256(image.read_bytes()).hexdigest() != signed["sha256"]:
        image.unlink()
        raise Refused("DIGEST_MISMATCH")
    return image

def go_on(act):
    """Does it again and again. A credential that counts for nothing ends the device: nobody but an operator can help it."""
    while True:
        try:
            act()
        except grpc.RpcError as error:
            say(f"{error.code().name}: {error.details()}")
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                os._exit(1)
        time.sleep(random.uniform(0.5, 1.5))

while "token" not in memory:
    try:
        enrol()
    except grpc.RpcError as error:
        say(f"cannot enrol yet: {error.details()}")
        time.sleep(5)
credential = [("authorization", f"Bearer {memory['token']}")]
say(f"runs {version}")
threading.Thread(target=go_on, args=[hold_stream], daemon=True).start()
go_on(check)
