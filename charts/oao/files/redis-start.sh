#!/bin/sh
# redis-start.sh CONFIG PASSWORD_FILE: Redis for one operator. The list of processes shows only the hash of its password.
set -ef
hash=$(sha256sum "$2" | cut -d ' ' -f 1)
# The operator gives every run a user of its own (acl), and reads settings to judge their durability (config|get, info).
# The default user lets nobody in, but Redis reads its own log as this user: without its rights every transaction in the log, so
# every journal, would be refused at a restart (redis/redis#14541).
exec redis-server "$1" \
  --user default off '~*' '&*' '+@all' \
  --user operator on "#$hash" '~oao:*' '&oao:*' '+@all' '-@admin' '-@dangerous' '-script|flush' '-script|kill' \
  '+acl|setuser' '+acl|getuser' '+acl|deluser' '+acl|list' '+acl|users' '+config|get' '+info'
