"""The operations of the JSON API with which an account's operators make pools and clients, and invite people."""

from typing import Any

from msgspec.structs import replace

from emulators.clock import Clock
from emulators.cognito import passwords, requests
from emulators.cognito.authentication import attributes
from emulators.cognito.directory import Directory
from emulators.cognito.randomness import Randomness
from emulators.cognito.records import DAY_MS, HOUR_MS, Client, Group, Pool, ResourceServer, User
from emulators.cognito.refusal import CognitoError, invalid, not_found

Answer = dict[str, Any]
_UNIT_MS = {"seconds": 1_000, "minutes": 60_000, "hours": HOUR_MS, "days": DAY_MS}
STANDARD_SCOPES = ("openid", "email", "phone", "profile", "aws.cognito.signin.user.admin")


class Administration:
    """`account`, `region` and `partition`: whose pools these are."""

    def __init__(
        self, directory: Directory, *, account: str, region: str, partition: str, clock: Clock,
        randomness: Randomness, password_cost: int,
    ) -> None:  # fmt: skip
        self._directory = directory
        self._region = region
        self._arn = f"arn:{partition}:cognito-idp:{region}:{account}:userpool"
        self._clock = clock
        self._new_id = randomness.new_id
        self._new_secret = randomness.new_secret
        self._new_salt = randomness.new_salt
        self._cost = password_cost
        self._new_signing_key = randomness.new_signing_key

    def create_pool(self, asked: requests.CreateUserPool) -> Answer:
        named = f"{self._region}_{_letters(self._new_id())[:9]}"
        pool = Pool(
            id=named,
            name=asked.pool_name,
            arn=f"{self._arn}/{named}",
            created_ms=self._clock(),
            mail_is_username="email" in asked.username_attributes,
            policy=asked.policies.password_policy,
            signs_id=self._new_signing_key(),
            signs_access=self._new_signing_key(),
        )
        self._directory.put(pool)
        return {"UserPool": _pool(pool)}

    def describe_pool(self, asked: requests.OfPool) -> Answer:
        return {"UserPool": _pool(self._directory.pool(asked.user_pool_id))}

    def list_pools(self, _: requests.ListUserPools) -> Answer:
        return {"UserPools": [{"Id": pool.id, "Name": pool.name} for pool in self._directory.pools()]}

    def create_client(self, asked: requests.CreateUserPoolClient) -> Answer:
        pool = self._directory.pool(asked.user_pool_id)
        client = Client(
            id=_letters(self._new_id())[:26],
            pool=pool.id,
            name=asked.client_name,
            created_ms=self._clock(),
            secret=self._new_secret() if asked.generate_secret else "",
        )
        return self._put_client(client, asked)

    def update_client(self, asked: requests.UpdateUserPoolClient) -> Answer:
        client = self._client(asked.user_pool_id, asked.client_id)
        return self._put_client(replace(client, name=asked.client_name or client.name), asked)

    def describe_client(self, asked: requests.OfClient) -> Answer:
        return {"UserPoolClient": _client(self._client(asked.user_pool_id, asked.client_id))}

    def list_clients(self, asked: requests.ListUserPoolClients) -> Answer:
        found = self._directory.clients(self._directory.pool(asked.user_pool_id).id)
        short = [{"ClientId": each.id, "UserPoolId": each.pool, "ClientName": each.name} for each in found]
        return {"UserPoolClients": short}

    def create_resource_server(self, asked: requests.CreateResourceServer) -> Answer:
        pool = self._directory.pool(asked.user_pool_id)
        scopes = tuple((each.scope_name, each.scope_description) for each in asked.scopes)
        self._directory.put(ResourceServer(pool.id, asked.identifier, asked.name, scopes))
        said = [{"ScopeName": name, "ScopeDescription": description} for name, description in scopes]
        named = {"UserPoolId": pool.id, "Identifier": asked.identifier, "Name": asked.name}
        return {"ResourceServer": {**named, "Scopes": said}}

    def create_group(self, asked: requests.CreateGroup) -> Answer:
        pool = self._directory.pool(asked.user_pool_id)
        if asked.group_name in {each.name for each in self._directory.groups(pool.id)}:
            raise CognitoError("GroupExistsException", "A group with the name already exists.")
        group = Group(pool.id, asked.group_name, asked.description, self._clock())
        self._directory.put(group)
        named = {"GroupName": group.name, "UserPoolId": pool.id, "Description": group.description}
        return {"Group": {**named, "CreationDate": group.created_ms / 1_000}}

    def create_user(self, asked: requests.AdminCreateUser) -> Answer:
        pool = self._directory.pool(asked.user_pool_id)
        given = {each.name: each.value for each in asked.user_attributes}
        mail = given.get("email", asked.username if pool.mail_is_username else "")
        if pool.mail_is_username and "@" not in mail:
            raise invalid("Username should be an email.")
        if self._directory.known(pool, asked.username) or (mail and self._directory.known(pool, mail)):
            raise CognitoError("UsernameExistsException", "User account already exists")
        password = asked.temporary_password or f"Aa1!{self._new_secret()}"
        passwords.check(password, pool.policy)
        now_ms, sub = self._clock(), self._new_id()
        user = User(
            pool=pool.id,
            username=sub if pool.mail_is_username else asked.username,
            sub=sub,
            password=passwords.hashed(password, self._new_salt(), self._cost),
            temporary=True,
            created_ms=now_ms,
            modified_ms=now_ms,
            email=mail,
            email_verified=given.get("email_verified") == "true",
        )
        self._directory.put(user)
        return {"User": {**_user(user), "Attributes": attributes(user)}}

    def get_user(self, asked: requests.OfUser) -> Answer:
        user = self._user(asked)
        return {**_user(user), "UserAttributes": attributes(user)}

    def delete_user(self, asked: requests.OfUser) -> Answer:
        user = self._user(asked)
        self._directory.sign_out(user)
        self._directory.delete(user)
        return {}

    def disable_user(self, asked: requests.OfUser) -> Answer:
        user = self._changed(asked, enabled=False)
        self._directory.sign_out(user)
        return {}

    def enable_user(self, asked: requests.OfUser) -> Answer:
        self._changed(asked, enabled=True)
        return {}

    def sign_out_user(self, asked: requests.OfUser) -> Answer:
        self._directory.sign_out(self._user(asked))
        return {}

    def set_password(self, asked: requests.AdminSetUserPassword) -> Answer:
        passwords.check(asked.password, self._directory.pool(asked.user_pool_id).policy)
        kept = passwords.hashed(asked.password, self._new_salt(), self._cost)
        self._changed(asked, password=kept, temporary=not asked.permanent)
        return {}

    def update_attributes(self, asked: requests.AdminUpdateUserAttributes) -> Answer:
        given = {each.name: each.value for each in asked.user_attributes}
        if "sub" in given:
            raise invalid("Cannot modify the non-mutable attribute sub")
        mail = {"email": given["email"], "email_verified": False} if "email" in given else {}
        checked = {"email_verified": given["email_verified"] == "true"} if "email_verified" in given else {}
        self._changed(asked, **(mail | checked))
        return {}

    def add_to_group(self, asked: requests.OfMembership) -> Answer:
        group = self._directory.group(asked.user_pool_id, asked.group_name)
        groups = self._user(asked).groups
        self._changed(asked, groups=tuple(dict.fromkeys((*groups, group.name))))
        return {}

    def remove_from_group(self, asked: requests.OfMembership) -> Answer:
        group = self._directory.group(asked.user_pool_id, asked.group_name)
        groups = self._user(asked).groups
        self._changed(asked, groups=tuple(each for each in groups if each != group.name))
        return {}

    def _client(self, pool: str, client: str) -> Client:
        found = self._directory.client(client)
        if found.pool != pool:
            raise not_found(f"User pool client {client} does not exist.")
        return found

    def _put_client(self, client: Client, asked: requests.ClientSettings) -> Answer:
        known = {*STANDARD_SCOPES, *self._custom_scopes(client.pool)}
        if unknown := set(asked.allowed_oauth_scopes) - known:
            raise CognitoError("ScopeDoesNotExistException", f"Invalid scope requested: {', '.join(sorted(unknown))}")
        flows = asked.allowed_oauth_flows
        if "client_credentials" in flows and ("code" in flows or not client.secret):
            raise CognitoError("InvalidOAuthFlowException", "client_credentials flow goes alone, and with a secret.")
        units = asked.token_validity_units
        client = replace(
            client,
            auth_flows=frozenset(asked.explicit_auth_flows),
            oauth_flows=frozenset(flows if asked.allowed_oauth_flows_user_pool_client else ()),
            scopes=asked.allowed_oauth_scopes,
            callbacks=asked.callback_urls,
            logouts=asked.logout_urls,
            hides_users=asked.prevent_user_existence_errors == "ENABLED",
            access_ms=asked.access_token_validity * _UNIT_MS[units.access_token],
            id_ms=asked.id_token_validity * _UNIT_MS[units.id_token],
            refresh_ms=asked.refresh_token_validity * _UNIT_MS[units.refresh_token],
        )
        self._directory.put(client)
        return {"UserPoolClient": _client(client)}

    def _user(self, asked: requests.OfUser) -> User:
        return self._directory.user(self._directory.pool(asked.user_pool_id), asked.username)

    def _changed(self, asked: requests.OfUser, **changes: Any) -> User:
        user = replace(self._user(asked), modified_ms=self._clock(), **changes)
        self._directory.put(user)
        return user

    def _custom_scopes(self, pool: str) -> list[str]:
        servers = self._directory.resource_servers(pool)
        return [f"{server.identifier}/{name}" for server in servers for name, _ in server.scopes]


def _pool(pool: Pool) -> Answer:
    attributes = {"UsernameAttributes": ["email"]} if pool.mail_is_username else {}
    return {"Id": pool.id, "Name": pool.name, "Arn": pool.arn, "CreationDate": pool.created_ms / 1_000, **attributes}


def _client(client: Client) -> Answer:
    return {
        "UserPoolId": client.pool,
        "ClientId": client.id,
        "ClientName": client.name,
        **({"ClientSecret": client.secret} if client.secret else {}),
        "CreationDate": client.created_ms / 1_000,
        "ExplicitAuthFlows": sorted(client.auth_flows),
        "AllowedOAuthFlows": sorted(client.oauth_flows),
        "AllowedOAuthScopes": client.scopes,
        "CallbackURLs": client.callbacks,
        "LogoutURLs": client.logouts,
        "PreventUserExistenceErrors": "ENABLED" if client.hides_users else "LEGACY",
    }


def _user(user: User) -> Answer:
    return {
        "Username": user.username,
        "UserCreateDate": user.created_ms / 1_000,
        "UserLastModifiedDate": user.modified_ms / 1_000,
        "Enabled": user.enabled,
        "UserStatus": user.status,
    }


def _letters(uuid: str) -> str:
    """What Cognito's identifiers consist of, of a UUID."""
    return uuid.replace("-", "")
