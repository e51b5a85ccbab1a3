"""What is decided without a machine: names, keys, numbers, the configuration, records."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib9.keys import Identity
from ndbdb.parser import parse, unparse
from spawngrid.environment import identity, oci, record, seccomp, slots
from spawngrid.environment.interface import Limits, Spec
from spawngrid.environment.places import Places


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("web", "web"),
        ("My Root/1", "My-Root-1"),
        ("..", "environment"),
        ("a" * 99, "a" * 63),
        ("é", "environment"),
    ],
)
def test_hostnames(name: str, host: str) -> None:
    assert identity.hostname_of(name) == host


@given(st.text())
def test_any_name_gives_a_hostname(name: str) -> None:
    host = identity.hostname_of(name)
    assert 1 <= len(host) <= 63
    assert host.isascii()
    assert host == host.strip("-")


def test_a_machine_id_is_a_random_uuid() -> None:
    assert identity.machine_id(bytes(16)) == "00000000000040008000000000000000\n"
    assert identity.machine_id(b"\xff" * 16) == "ffffffffffff4fffbfffffffffffffff\n"


def test_resolvers_on_loopback_are_of_use_only_where_the_network_is_shared() -> None:
    text = "search x\nnameserver 127.0.0.53\nnameserver 9.9.9.9\n"
    assert identity.resolv_conf(text, shares_network=True) == text
    shut = identity.resolv_conf(text, shares_network=False)
    assert shut == "search x\nnameserver 9.9.9.9\n"


def test_ssh_reads_the_key(tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    made = Identity.generate()
    secret, public = identity.ssh_key(made.seed, made.public, "root@here")
    (tmp_path / "key").write_text(secret)
    (tmp_path / "key").chmod(0o600)
    read = subprocess.run(
        ["ssh-keygen", "-y", "-f", tmp_path / "key"], capture_output=True, text=True, check=True
    )
    assert read.stdout == public


@given(st.integers(0, 0xFFFFFF), st.sets(st.integers(0, 8192), max_size=20))
def test_slots_are_the_nodes_own(number: int, used: set[int]) -> None:
    key = f"{number:06x}"
    slot = slots.free_slot(key, used)
    assert slot is not None
    assert slot not in used
    assert slots.first_slot(key) <= slot < slots.first_slot(key) + slots.SLOTS_MAX
    assert slots.first_id(slot) + slots.IDS < 1 << 31
    gateway, inside = slots.addresses(slot)
    assert gateway.rpartition(".")[0] == inside.rpartition(".")[0]


def test_a_full_node_has_no_slot() -> None:
    first = slots.first_slot("000001")
    assert slots.free_slot("000001", range(first, first + slots.SLOTS_MAX)) is None
    assert slots.network("000001") == "10.213.4.0/22"
    assert slots.addresses(first) == ("10.213.4.1", "10.213.4.2")


_texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"'), max_size=20
)
_specs = st.builds(
    Spec,
    name=_texts,
    user=_texts,
    score=st.just("vac:" + "0" * 64),
    store=_texts,
    scratch_bytes=st.integers(0, 1 << 50),
    scratch_on_disk=st.booleans(),
    limits=st.none()
    | st.builds(Limits, st.integers(1, 1 << 40), st.floats(0.01, 999), st.integers(4, 9999)),
    network=st.sampled_from(["none", "nat", "host"]),
    hostname=_texts,
)


@given(_specs, st.integers(0, 9999), _texts)
def test_a_record_keeps_what_was_asked_for(spec: Spec, slot: int, reason: str) -> None:
    entry = record.Entry("0123456789ab", spec, slot, "runc", reason=reason, init_pid=7)
    text = unparse(record.to_record(entry))
    assert record.from_record(next(parse(text, "record"))) == entry


def test_a_torn_record_is_none(tmp_path: Path) -> None:
    own = Places(str(tmp_path), str(tmp_path)).of("0123456789ab")
    assert record.read(own) is None
    Path(own.folder).mkdir(parents=True)
    for text in ("", "environment=0123456789ab name=x\n", "\0\xff"):
        Path(own.path("record")).write_text(text)
        assert record.read(own) is None


def configuration(**changes: object) -> dict[str, object]:
    facts: dict[str, object] = {
        "hostname": "h",
        "slot": 3,
        "cgroup": "/c",
        "limits": Limits(),
        "network": "none",
        "binds": [],
        "swap_counted": True,
    }
    made = oci.configuration(**{**facts, **changes})  # type: ignore[arg-type]
    json.dumps(made)
    return made


def test_the_configuration_says_what_was_asked_for() -> None:
    linux = configuration(limits=Limits(memory_bytes=1 << 30, cpus=0.5, pids=9))["linux"]
    assert linux["resources"]["memory"] == {"limit": 1 << 30, "swap": 1 << 30}
    assert linux["resources"]["cpu"] == {"quota": 50_000, "period": 100_000}
    assert linux["resources"]["pids"] == {"limit": 9}
    kinds = {space["type"] for space in linux["namespaces"]}
    assert kinds == {"pid", "ipc", "uts", "mount", "user", "cgroup", "network"}
    shared = configuration(network="host", limits=None)["linux"]
    assert "network" not in {space["type"] for space in shared["namespaces"]}
    assert set(shared["resources"]) == {"devices"}
    assert shared["uidMappings"] == [{"containerID": 0, "hostID": 0x40030000, "size": 65536}]


def test_a_process_has_no_privileges_to_gain() -> None:
    process = oci.process(["x"])
    assert process["noNewPrivileges"] is True
    for name in ("SYS_ADMIN", "SYS_MODULE", "NET_ADMIN", "SYS_PTRACE", "MKNOD", "DAC_READ_SEARCH"):
        assert f"CAP_{name}" not in str(process["capabilities"])


def test_what_is_bound_in_cannot_be_written_unless_it_is_a_hub() -> None:
    binds = [oci.Bind("/a", "/etc/a"), oci.Bind("/h", "/srv/h", writable=True)]
    mounts = {m["destination"]: m["options"] for m in configuration(binds=binds)["mounts"]}
    assert "ro" in mounts["/etc/a"]
    assert "rw" in mounts["/srv/h"]


def test_system_calls_that_change_the_machine_are_refused() -> None:
    profile = seccomp.profile()
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    for name in [
        "mount",
        "umount2",
        "unshare",
        "setns",
        "bpf",
        "init_module",
        "reboot",
        "kexec_load",
        "swapon",
        "keyctl",
    ]:
        assert name not in seccomp.ALLOWED, name
    for name in [
        "userfaultfd",
        "io_uring_setup",
        "perf_event_open",
        "open_by_handle_at",
        "clone",
        "socket",
    ]:
        assert name not in seccomp.ALLOWED, name
    assert len(seccomp.ALLOWED) == len(set(seccomp.ALLOWED))
