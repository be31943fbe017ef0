"""The words of people, keys and settings."""

from __future__ import annotations

from typing import Final


class PeopleWords:
    """What the page of people and keys says."""

    title = "People and keys"
    people = "People"
    keys = "API keys"
    name = "Name"
    role = "Role"
    organization = "Organization"
    platform = "the platform"
    since = "Since"
    state = "State"
    active = "May sign in"
    disabled = "Disabled"
    you = "you"
    actions = "Actions"
    add_person = "Add a person"
    add_person_hint = "A password is made and shown once; they change it under Settings."
    organization_hint = "Empty: platform staff, who see all organizations."
    password = "Password"  # noqa: S105 - a label
    created = "{name} may sign in with this password. It is shown once:"
    change_role = "Change role"
    change_role_title = "Role of {name}"
    change_role_body = "They sign in again, and their tokens end."
    role_done = "{name} is {role} now"
    new_password = "New password"  # noqa: S105 - a label
    new_password_title = "New password for {name}?"  # noqa: S105 - a label
    new_password_body = "A password is made and shown once; their sessions end."  # noqa: S105 - a label
    disable = "Disable"
    disable_title = "Disable {name}?"
    disable_body = "Sessions and tokens end within ten seconds on every node."
    disable_done = "{name} may sign in no longer"
    enable = "Enable"
    enable_title = "Enable {name}?"
    enable_body = "They sign in with the password that they had."
    enable_done = "{name} may sign in again"
    sign_out = "Sign out everywhere"
    sign_out_title = "Sign out {name} everywhere?"
    sign_out_body = "All sessions and tokens end; they may sign in again."
    sign_out_done = "{name} is signed out everywhere"
    of_service = "service {name}, jobs {prefix}*"
    of_organization = "organization {name}"
    holds = "Holds"
    revoked = "Revoked"
    expired = "Ended"
    last_used = "Last used"
    never = "never"
    expires = "Ends"
    add_organization_key = "Add an organization's key"
    service_keys = "Keys of services, which register jobs, are made at the terminal:"
    service_keys_command = "mainspring key create --service NAME --prefix PREFIX"
    key_created = "The key is shown once. Whoever has it acts with it:"
    key = "Key"
    signing_secret = "Signing secret of callbacks"  # noqa: S105 - a label
    revoke = "Revoke"
    revoke_title = "Revoke the key {id}?"
    revoke_body = "Every node refuses it within ten seconds. This cannot be undone."
    revoke_done = "The key {id} is revoked"
    no_keys = "No key yet"
    no_keys_hint = "Programs prove themselves by a key: services that register jobs, organizations that ask for them."
    old = "Old"
    cancel = "Cancel"
    close = "Close"
    save = "Save"


class SettingsWords:
    """What the settings of a visitor say."""

    title = "Settings"
    lead = "These are your own; nobody else sees them change."
    look = "Look"
    density = "Rows of tables"
    densities = (("comfortable", "Comfortable"), ("compact", "Compact"))
    keys = "Single-key shortcuts"
    keys_choices = (("on", "On"), ("off", "Off"))
    keys_hint = "Off, if you use speech input or press keys by accident. Ctrl-K works in any case."
    clock = "Clock"
    clocks = (("mine", "My zone"), ("utc", "UTC"), ("schedule", "The schedule's zone"))
    zone = "My zone"
    zone_hint = "A name such as Europe/Rome."
    zone_unknown = "There is no time zone {zone!r}: write a name such as Europe/Rome."
    save = "Save"
    saved = "Saved"
    password = "Password"  # noqa: S105 - a label
    present = "Present password"
    new = "New password"
    new_hint = "12 characters or more. All your other sessions end."
    change = "Change password"
    changed = "Your password is changed, and your other sessions have ended."
    sign_out = "Sign out everywhere"
    sign_out_hint = "All your sessions and tokens end, this one too."


PEOPLE: Final = PeopleWords()
SETTINGS: Final = SettingsWords()
