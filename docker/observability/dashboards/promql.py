"""Queries as every panel asks them: of the replicas chosen, over an interval that fits the screen."""

HERE = 'job="$job",instance=~"$instance"'
LISTS = 'route=~"refused|/v1/.*recommendations.*"'
ONE_LIST = 'route=~"/v1/(users/{user_id}/)?recommendations",outcome="answered"'


def gauge(name: str, where: str = "") -> str:
    """A metric as it is, per replica."""
    return f"{name}{{{_joined(where)}}}"


def total(name: str, where: str = "", by: str = "") -> str:
    """A gauge added up over replicas."""
    return f"sum{_by(by)}({gauge(name, where)})"


def rate(name: str, where: str = "", by: str = "") -> str:
    """A counter per second, added up over replicas."""
    return f"sum{_by(by)}(rate({gauge(name, where)}[$__rate_interval]))"


def increase(name: str, where: str = "", by: str = "") -> str:
    """How much a counter grew, added up over replicas."""
    return f"sum{_by(by)}(increase({gauge(name, where)}[$__rate_interval]))"


def quantile(q: float, histogram: str, where: str = "", by: str = "") -> str:
    """Below which value the share `q` of what a histogram saw lies, over all replicas."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', where, f'le, {by}' if by else 'le')})"


def mean(histogram: str, where: str = "", by: str = "") -> str:
    """The mean of what a histogram saw, over all replicas."""
    return f"{rate(f'{histogram}_sum', where, by)} / {rate(f'{histogram}_count', where, by)}"


def share(part: str, whole: str) -> str:
    """One rate as a part of another; 0 where there is none of the first."""
    return f"({part} or 0 * {whole}) / {whole}"


def recorded(rule: str) -> str:
    """What a recording rule says, of all replicas together."""
    return f'{rule}{{job="$job"}}'


def _joined(where: str) -> str:
    return f"{HERE},{where}" if where else HERE


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""
