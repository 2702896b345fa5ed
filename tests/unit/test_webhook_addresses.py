"""Addresses that a webhook may reach."""

import pytest

from listener.alerts.sinks.addresses import is_public, require_public, resolve
from ml.errors import DeliveryFailed

PRIVATE = (
    *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "0.0.0.0"),
    *("169.254.169.254", "100.64.0.1", "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "fec0::1"),
    # IPv4 addresses in IPv6: mapped, compatible, 6to4, NAT64 and Teredo.
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "2002:7f00:1::", "2002:a00:1::"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2001:0:53aa:64c:0:0:80ff:fffe"),
)
PUBLIC = (
    "8.8.8.8",
    "1.1.1.1",
    "172.32.0.1",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::",
)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_recognised_in_every_form(address: str) -> None:
    """Networks without the internet, this computer, groups, and the addresses with facts about cloud computers."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_used(address: str) -> None:
    """Also one in another form."""
    assert is_public(address)


def test_only_the_public_ones_of_several_addresses_are_used() -> None:
    """A name with both is used by the public ones; the message names a private one."""
    assert require_public("example.org", ["10.0.0.1", "8.8.8.8"]) == ["8.8.8.8"]
    with pytest.raises(DeliveryFailed, match=r"10\.0\.0\.1.*allow_private"):
        require_public("example.org", ["10.0.0.1"])


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost"])
def test_other_writings_of_this_computer_are_resolved_before_the_check(host: str) -> None:
    """The system reads them as 127.0.0.1; so does the check."""
    assert not any(is_public(each) for each in resolve(host, 80))


def test_a_name_that_is_unknown_is_an_error() -> None:
    """With the reason."""
    with pytest.raises(DeliveryFailed, match="cannot be resolved"):
        resolve("nowhere.invalid", 80)
