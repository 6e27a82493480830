"""The places of the actors in the cluster: a Ray placement group, had as a whole or not at all."""

from __future__ import annotations

from typing import Any

from fl_ef21.engine import cluster, placement
from fl_ef21.engine.settings import Settings
from fl_ef21.errors import InputError

PATIENCE = 60.0  # seconds to wait for others to give back what they hold


class Reservation:
    """One place for each shard, spread over the nodes as evenly as they allow."""

    def __init__(self, settings: Settings, actors: int) -> None:
        """Raises: InputError where others hold the CPUs or GPUs for longer than PATIENCE."""
        import ray
        from ray.util.placement_group import placement_group

        wants = {"CPU": settings.cpus_per_actor, "GPU": settings.gpus_per_actor}
        bundle = {name: amount for name, amount in wants.items() if amount}
        self._group = placement_group([bundle] * actors, strategy="SPREAD")
        if not self._group.wait(PATIENCE):
            self.release()
            there = placement.describe(cluster.present())
            free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
            left = ", ".join(f"{free.get(name, 0):g} {name}s" for name in bundle)
            raise InputError(
                "engine.actors", actors,
                f"their {actors} x ({', '.join(f'{amount:g} {name}' for name, amount in bundle.items())}) were not "
                f"free within {PATIENCE:g} s; the nodes have {there}, of which {left} are free now and other jobs "
                f"hold the rest; wait for them (`ray status` shows them) or use fewer actors",
            )  # fmt: skip

    def place(self, shard: int) -> Any:
        """The scheduling strategy for a shard's actor."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        return PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=shard)

    def nodes(self) -> list[str]:
        """The id of each shard's node."""
        where = self._table()["bundles_to_node_id"]
        return [where[shard] for shard in sorted(where)]

    def here(self, shard: int) -> bool:
        """Whether this process is on that shard's node."""
        import ray
        from ray.util.client import ray as outside

        if outside.is_connected():  # type: ignore[no-untyped-call]  # through ray://, as a machine that is no node
            return False
        return self.nodes()[shard] == str(ray.get_runtime_context().get_node_id())

    def usable(self, shard: int) -> bool:
        """Whether an actor started in this place now would come up, as far as can be told without waiting."""
        import ray

        table = self._table()
        if table["state"] != "CREATED":
            return False
        for node in ray.nodes():  # type: ignore[no-untyped-call]
            if node["NodeID"] == table["bundles_to_node_id"][shard]:
                return cluster.lives(node)
        return False

    def release(self) -> None:
        from ray.util.placement_group import remove_placement_group

        remove_placement_group(self._group)

    def _table(self) -> dict[str, Any]:
        from ray.util.placement_group import placement_group_table

        table: dict[str, Any] = placement_group_table(self._group)
        return table
