"""Two nodes of Ray, processes of their own, on loopback alone: `python ray_cluster.py`, until its input ends.

It writes one line of JSON: the cluster's address, and the processes of the second node. `ray start` would do but for
one thing: where it may add nodes, Ray listens on all interfaces.
"""

import json
import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    place = {"node_ip_address": "127.0.0.1", "num_cpus": 1, "object_store_memory": 80 * 2**20}
    head = {**place, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(**place)
    processes = [one.process.pid for own in second.all_processes.values() for one in own]
    sys.stdout.write(json.dumps({"address": cluster.address, "second": processes}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.shutdown()
