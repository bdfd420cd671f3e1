"""Run in a network namespace of its own, which is as bare as an enclave: opens the way out, and tries it.

python -m tests.enclave.without_network HOSTS_FILE
"""

import os
import socket
import sys
from pathlib import Path

from enclave.attested_kms import host_names
from enclave.configuration import ParentPorts
from enclave.forwarder import forward_kms_and_imds
from tests.patience import PATIENCE_S

REGIONS = ("us-east-1", "eu-west-1")

forward_kms_and_imds(
    ParentPorts(kms=dict.fromkeys(REGIONS, 8001), imds=8000), host_names(REGIONS), hosts=Path(sys.argv[1])
)
for line in Path(sys.argv[1]).read_text().splitlines():
    socket.create_connection((line.split()[0], 443), timeout=PATIENCE_S).close()
socket.create_connection(("127.0.0.1", 1338), timeout=PATIENCE_S).close()
print(os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"])
