"""Why nobody knows who is calling: the refusals of every credential, each with a code of its own."""

from __future__ import annotations

from mainspring.errors import MainspringError


class AuthenticationError(MainspringError):
    """Nobody knows who is calling: there is no credential, or it does not hold."""

    code = "AUTHENTICATION_REQUIRED"


class MalformedTokenError(AuthenticationError):
    """The bearer token is no JSON Web Token."""

    code = "TOKEN_MALFORMED"


class ForgedTokenError(AuthenticationError):
    """The token is not signed with a key and an algorithm that this deployment trusts."""

    code = "TOKEN_SIGNATURE"


class TokenClaimsError(AuthenticationError):
    """The token is signed with a key that is trusted, and says something that does not hold here."""

    code = "TOKEN_CLAIMS"


class ExpiredTokenError(AuthenticationError):
    """The token has expired: get a new one."""

    code = "TOKEN_EXPIRED"


class RevokedTokenError(AuthenticationError):
    """The token, or all that its user had, was revoked."""

    code = "TOKEN_REVOKED"


class InvalidKeyError(AuthenticationError):
    """The API key is none of this deployment's environment."""

    code = "API_KEY_INVALID"


class RevokedKeyError(AuthenticationError):
    """The API key was revoked."""

    code = "API_KEY_REVOKED"


class ExpiredKeyError(AuthenticationError):
    """The API key has ended by itself."""

    code = "API_KEY_EXPIRED"


class SessionEndedError(AuthenticationError):
    """The session is over: by time, by signing out, or because its user was changed."""

    code = "SESSION_ENDED"


class SignInRefusedError(AuthenticationError):
    """The name or the password is wrong; which of them is never said."""

    code = "SIGN_IN_REFUSED"


class UserDisabledError(AuthenticationError):
    """The user was disabled, and with it everything that acts in its name."""

    code = "USER_DISABLED"
